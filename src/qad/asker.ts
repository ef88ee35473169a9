/**
 * Asks one address of the relay over and over: fast while the answer is unknown, at the NAT's pace once it is known.
 * A part of {@linkcode Discovery}; its transitions are the table at the end.
 * @module
 */
import type { Address } from "../core/address.ts";
import type { Millis } from "../core/clock.ts";

/** First retry: a loss on a fast network should cost little, and 40 ms is one round trip to a near relay. */
export const FIRST_RETRY_MS = 40;
/** Slowest retry while the answer is unknown: after an outage the answer is at most this late. */
export const MAX_RETRY_MS = 5000;
/** Unanswered questions after which a target counts as unreachable: 40+80+160+320+640 ms = 1.24 s. */
export const UNREACHABLE_AFTER = 5;
/** Outstanding questions that may still be answered; an answer to an older one counts as stale. */
const MAX_OUTSTANDING = 8;

/** What an asker is at. Times are when to ask again. */
export type AskerState =
  /** The answer is unknown (or no longer believed): asking with backoff. */
  | { readonly name: "asking"; readonly attempt: number; readonly at: Millis }
  /** The answer is known; asks again at the NAT's pace, to keep the mapping and to notice a change. */
  | { readonly name: "fresh"; readonly at: Millis }
  /** Was fresh, asked again, no answer yet: the old one still holds. */
  | { readonly name: "checking"; readonly attempt: number; readonly at: Millis }
  /** Has what it wants, or gave up: asks no more until reset. */
  | { readonly name: "resting" };

/** What happens to an asker. */
export type AskerEvent = "asked" | "answered" | "refresh" | "reset";

/** How an asker behaves. */
export interface AskerOptions {
  /** When a known answer is to be asked for again, from now; `undefined`: once is enough. */
  readonly refreshIn: (() => Millis) | undefined;
}

function retryIn(attempt: number): Millis {
  return Math.min(FIRST_RETRY_MS * 2 ** Math.min(attempt, 16), MAX_RETRY_MS);
}

type Step = (state: AskerState, now: Millis, options: AskerOptions) => AskerState;

const reset: Step = (_state, now) => ({ name: "asking", attempt: 0, at: now });
const refresh: Step = (state, now) =>
  state.name === "fresh"
    ? { name: "checking", attempt: 0, at: now }
    : { ...state, attempt: 0, at: now } as AskerState;
const stay: Step = (state) => state;
const answered: Step = (_state, now, { refreshIn }) =>
  refreshIn ? { name: "fresh", at: now + refreshIn() } : { name: "resting" };
const askAgain: Step = (state, now, { refreshIn }) => {
  const attempt = "attempt" in state ? state.attempt : 0;
  const at = now + retryIn(attempt);
  const gaveUp = attempt + 1 > UNREACHABLE_AFTER;
  if (gaveUp && !refreshIn) return { name: "resting" };
  const name = state.name === "asking" || gaveUp ? "asking" : "checking";
  return { name, attempt: attempt + 1, at };
};

/** State × event. */
const TRANSITIONS: Record<AskerState["name"], Record<AskerEvent, Step>> = {
  asking: { asked: askAgain, answered, refresh, reset },
  fresh: { asked: askAgain, answered, refresh, reset },
  checking: { asked: askAgain, answered, refresh, reset },
  resting: { asked: stay, answered: stay, refresh: stay, reset },
};

/** Asks one target. */
export class Asker {
  readonly target: Address;
  #options: AskerOptions;
  #state: AskerState;
  /** Transaction id to the number of its question, oldest first. */
  #outstanding = new Map<string, number>();
  #asked = 0;
  #answeredUpTo = 0;
  /** What the newest answered question said. */
  seen: Address | undefined;

  constructor(target: Address, now: Millis, options: AskerOptions) {
    this.target = target;
    this.#options = options;
    this.#state = { name: "asking", attempt: 0, at: now };
  }

  get state(): AskerState {
    return this.#state;
  }

  /** When to ask; `undefined`: not by itself. */
  get at(): Millis | undefined {
    return this.#state.name === "resting" ? undefined : this.#state.at;
  }

  /** A question with this transaction id was sent. */
  asked(txid: string, now: Millis): void {
    if (this.#outstanding.size >= MAX_OUTSTANDING) {
      this.#outstanding.delete(this.#outstanding.keys().next().value!);
    }
    this.#outstanding.set(txid, ++this.#asked);
    this.#move("asked", now);
    if (this.#state.name === "asking" && this.#state.attempt > UNREACHABLE_AFTER) {
      this.seen = undefined;
    }
  }

  /** Takes an answer if its question is outstanding and newer than every question answered so far. */
  answered(txid: string, seen: Address, now: Millis): boolean {
    const number = this.#outstanding.get(txid);
    if (number === undefined) return false;
    this.#outstanding.delete(txid);
    if (number <= this.#answeredUpTo) return false;
    this.#answeredUpTo = number;
    this.seen = seen;
    this.#move("answered", now);
    return true;
  }

  /** Something is odd: ask again now, but go on believing what is known. */
  refresh(now: Millis): void {
    this.#move("refresh", now);
  }

  /** The network changed: what was asked before counts no more. */
  reset(now: Millis): void {
    this.#outstanding.clear();
    this.seen = undefined;
    this.#move("reset", now);
  }

  #move(event: AskerEvent, now: Millis): void {
    this.#state = TRANSITIONS[this.#state.name][event](this.#state, now, this.#options);
  }
}
