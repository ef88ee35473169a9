/**
 * Has a tunnel fallen silent in the midst of traffic? Then it asks the other end for a sign of life, whoever's turn it is.
 *
 * ```
 * asleep --traffic--> listening --quiet for a while--> asking --anything comes--> listening --nothing to do--> asleep
 *                                                      ^    | nothing comes: again
 *                                                      +----+
 * ```
 *
 * QUIC would not. A receiver waits in silence for what may never come, though maybe it is its own NAT that has forgotten it,
 * and a packet of its own would cure that. A sender asks less and less often (RFC 9002 §6.2.1), and after a long outage
 * finds out late that it is over. A question is one small packet, so it can be asked more often than data may be sent again;
 * and the first answer tells QUIC about all that was lost.
 *
 * A pure machine.
 * @module
 */
import type { Machine, Millis } from "../core/mod.ts";

/** Silence after traffic that is worth the first question: rarer than a slow answer, sooner than a person notices. */
export const QUIET_MS: Millis = 300;

/** Between questions without an answer: soon at first, for what heals at once, … */
export const ASK_AGAIN_MS: Millis = 250;
/** … later and later up to this: so long may a healed link stay unnoticed. */
export const ASK_AGAIN_MAX_MS: Millis = 1000;
const ASK_AGAIN_GROWTH = 1.25;

/** Traffic within this time makes silence noteworthy; answered questions follow at doubling distance until then. */
const BUSY_MS: Millis = 3000;

/** What a pulse is told. */
export type PulseInput =
  /** The tunnel has sent something. */
  | { readonly type: "sent" }
  /** Answers `look`: QUIC packets that have come so far, and bytes that flows have moved so far, both ways. */
  | { readonly type: "seen"; readonly packets: number; readonly bytes: number }
  | { readonly type: "time" };

/** What a pulse wants. */
export type PulseOutput =
  /** Say what was seen. */
  | { readonly type: "look" }
  /** Send something that has to be answered. `silent`: for how long nothing has come, in milliseconds. */
  | { readonly type: "ask"; readonly silent: Millis };

type State =
  | { readonly name: "asleep" }
  | { readonly name: "listening"; readonly at: Millis }
  | {
    readonly name: "asking";
    readonly at: Millis;
    readonly wait: Millis;
    /** Questions since anything came. */
    readonly asked: number;
  };

/** See the module's head. */
export class Pulse implements Machine<PulseInput, PulseOutput> {
  #state: State = { name: "asleep" };
  #packets = 0;
  #bytes = 0;
  #heardAt: Millis = 0;
  #busyAt: Millis = -Infinity;
  /** Grows with each question that only proved that nobody has anything to say. */
  #patience: Millis = QUIET_MS;
  #out: PulseOutput[] = [];

  /** Where it stands. */
  get state(): State["name"] {
    return this.#state.name;
  }

  handle(input: PulseInput, now: Millis): void {
    const state = this.#state;
    switch (input.type) {
      case "sent":
        // Perhaps an acknowledgement: something came.
        if (state.name === "asking" && state.asked > 1) return this.#look();
        if (state.name !== "asleep") return;
        this.#heardAt = now;
        this.#state = { name: "listening", at: now + QUIET_MS };
        return this.#look();
      case "time":
        if (state.name !== "asleep" && now >= state.at) this.#look();
        return;
      case "seen":
        return this.#seen(input, now);
    }
  }

  poll(): PulseOutput | undefined {
    return this.#out.shift();
  }

  deadline(): Millis | undefined {
    return this.#state.name === "asleep" ? undefined : this.#state.at;
  }

  #look(): void {
    this.#out.push({ type: "look" });
  }

  #seen({ packets, bytes }: Extract<PulseInput, { type: "seen" }>, now: Millis): void {
    const state = this.#state;
    if (state.name === "asleep") return;
    const heard = packets !== this.#packets;
    const busy = bytes !== this.#bytes;
    this.#packets = packets;
    this.#bytes = bytes;
    if (heard) this.#heardAt = now;
    if (busy) this.#busyAt = now;
    if (busy) this.#patience = QUIET_MS;
    else if (heard && state.name === "asking") this.#patience *= 2;
    if (!heard && state.name === "asking") {
      if (now < state.at) return;
      const wait = Math.min(ASK_AGAIN_MAX_MS, state.wait * ASK_AGAIN_GROWTH);
      return this.#ask(now, { wait, asked: state.asked + 1 });
    }
    // The other end is heard again, but maybe it has just found its way here: what answers a question shows what was lost.
    if (heard && state.name === "asking" && state.asked > 1) return this.#ask(now);
    if (now - this.#busyAt >= BUSY_MS) {
      this.#state = { name: "asleep" };
      return;
    }
    const due = this.#heardAt + this.#patience;
    if (due <= now) this.#ask(now);
    else this.#state = { name: "listening", at: due };
  }

  #ask(now: Millis, { wait = ASK_AGAIN_MS, asked = 1 } = {}): void {
    this.#out.push({ type: "ask", silent: now - this.#heardAt });
    this.#state = { name: "asking", at: now + wait, wait, asked };
  }
}
