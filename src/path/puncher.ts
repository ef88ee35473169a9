/**
 * Finds the direct ways of one tunnel: probes the other end's candidates, answers its probes, and tells which ways are
 * proven in both directions with full-size packets.
 *
 * ```text
 * waiting --offer, or a probe--> active --proven--> settled --all lost--> active
 *                                active --nothing answers--> background --proven--> settled
 * ```
 *
 * Both ends run it. Each probe is answered at once, and a probe from a way that is not yet proven is followed by one of
 * our own on the same way (RFC 8445 §7.3.1.4, triggered check), so a way is proven one round trip after the first probe
 * gets through. Which proven way is used is not decided here.
 * @module
 */
import { toHex } from "../core/bytes.ts";
import type { Millis } from "../core/clock.ts";
import type { Machine } from "../core/machine.ts";
import type { RandomBytes } from "../qad/mod.ts";
import { attemptOutcomes } from "./attempt_outcome.ts";
import type { PathOffer } from "./candidate.ts";
import {
  BASE_MTU,
  type DirectPath,
  isSamePath,
  P2P_SOCKET,
  pathKey,
  type SocketId,
} from "./direct_path.ts";
import {
  ACTIVE_STEPS,
  BRIEF_STEPS,
  forgetProofs,
  interleaveFamilies,
  p2pPath,
  type Pair,
  PairTable,
} from "./pair.ts";
import { guessPlan, PortGuess, SPREAD_SOCKETS } from "./port_guess.ts";
import { MIN_PROBE_BYTES, PROBE_TXID_BYTES, type ProbeCodec } from "./probe_codec.ts";
import type { LocalFacts, PuncherInput, PuncherOutput, PuncherState } from "./puncher_io.ts";

/** Pairs probed in the same instant; each further one waits {@linkcode PACE_MS} more (RFC 8445 §14.2: 5 ms at least). */
const BURST = 8;
const PACE_MS: Millis = 5;
/** Between a probe and one triggered by the peer's on the same way: the first is as good as the second. */
const TRIGGER_GAP_MS: Millis = 5;
/** Simple probing gets this long (or one and a half relayed round trips) before ports are guessed: it needs one direct one. */
const GUESS_AFTER_MS: Millis = 120;
/** After a guess that found nothing, the next is worth its packets only when something may have changed. */
const GUESS_AGAIN_MS: Millis = 240_000;
/** Background rounds while the tunnel carries traffic: this is how late a healed way is noticed. */
const BUSY_ROUND_MS: Millis = 1000;
/** Background rounds of an idle tunnel double up to this; below the 30 s that NATs keep an unanswered mapping. */
const IDLE_ROUND_MS: Millis = 25_000;
/** A proven way that is not in use is looked after at the NAT's pace … */
const UPKEEP_MS: Millis = 25_000;
/** … and when silent asked again quickly, this often, before it counts as lost. */
const UPKEEP_RETRY_MS: Millis = 250;
const UPKEEP_MISSES = 4;
/** With a proven way, the other candidates are tried again this often (and at once when the network changes). */
const SETTLED_ROUND_MS: Millis = 60_000;
/** Asking the peer to exchange offers again and start together: doubling between these. */
const EXCHANGE_FIRST_MS: Millis = 15_000;
const EXCHANGE_MAX_MS: Millis = 600_000;
/** Probes that may still be answered; the oldest gives way, its answer is then ignored. */
const MAX_OUTSTANDING = 512;
/** Transaction ids of the peer's probes kept to find replays out; an older replay makes one useless pair. */
const MAX_SEEN = 512;

/** How a puncher works. */
export interface PuncherOptions {
  readonly codec: ProbeCodec;
  readonly random: RandomBytes;
  /** Guess ports where one NAT maps per destination. @default true */
  readonly guessing?: boolean;
  /** Round trip to the other end over the relay: guessing waits for one and a half. @default 100 ms */
  readonly relayRtt?: Millis;
}

interface Outstanding {
  /** The pair, or `undefined` for a guess. */
  readonly key: string | undefined;
  readonly size: number;
  readonly sentAt: Millis;
}

/** Forgets the oldest entries beyond `max`. */
function bound(map: Map<string, unknown>, max: number): void {
  while (map.size > max) map.delete(map.keys().next().value!);
}

/** Finds the direct ways of one tunnel. */
export class Puncher implements Machine<PuncherInput, PuncherOutput> {
  #options: PuncherOptions;
  #state: PuncherState = { name: "waiting" };
  #local: LocalFacts = { families: [4, 6], mapping: {} };
  #remote: PathOffer | undefined;
  #pairs = new PairTable();
  #outstanding = new Map<string, Outstanding>();
  #seen = new Map<string, string>();
  #guess = new PortGuess();
  #guessedAt: Millis | undefined;
  #guessSockets: "none" | "one" | "many" = "none";
  #inUse: DirectPath | undefined;
  #busy = false;
  #exchange = { at: Infinity, wait: EXCHANGE_FIRST_MS };
  #out: PuncherOutput[] = [];

  constructor(options: PuncherOptions) {
    this.#options = options;
  }

  get state(): PuncherState {
    return this.#state;
  }

  handle(input: PuncherInput, now: Millis): void {
    if (this.#state.name === "stopped") return;
    switch (input.type) {
      case "local":
        this.#local = input.local;
        if (this.#remote) this.#restart(now);
        break;
      case "remote":
        this.#takeOffer(input.offer, now);
        break;
      case "probe":
        this.#takeProbe(input, now);
        break;
      case "reply":
        this.#takeReply(input, now);
        break;
      case "guess-sockets":
        if (this.#guess.opened(input.sockets, now)) this.#guessSockets = "many";
        else this.#out.push({ type: "close-guess-sockets", keep: this.#keptSocket() });
        break;
      case "busy":
        this.#takeBusy(input.busy, now);
        break;
      case "in-use":
        this.#inUse = input.path;
        break;
      case "lost":
        this.#lose(input.path, now);
        break;
      case "network-changed":
        this.#guessedAt = undefined;
        this.#restart(now);
        break;
      case "stop":
        this.#stop();
        return;
      case "time":
        break;
    }
    this.#run(now);
  }

  poll(): PuncherOutput | undefined {
    return this.#out.shift();
  }

  deadline(): Millis | undefined {
    let earliest = this.#guess.at ?? Infinity;
    for (const { path, check } of this.#pairs) {
      if (check.name === "waiting" || this.#leftAlone(path, check.name)) continue;
      earliest = Math.min(earliest, check.at);
    }
    const state = this.#state;
    if (state.name === "active") earliest = Math.min(earliest, this.#guessDue(state) ?? Infinity);
    if (state.name === "background" || state.name === "settled") {
      earliest = Math.min(earliest, state.at);
    }
    return earliest === Infinity ? undefined : earliest;
  }

  // --- what arrives ---------------------------------------------------------------------------------------------------

  #takeOffer(offer: PathOffer, now: Millis): void {
    if (this.#remote && offer.generation <= this.#remote.generation) return;
    this.#remote = offer;
    const offered = new Set(offer.candidates.map(({ address }) => address.key));
    this.#pairs.retain(({ path, kind, check }) =>
      check.name === "valid" || kind === "peer-reflexive" || offered.has(path.remote.key)
    );
    this.#restart(now);
  }

  #takeProbe(input: Extract<PuncherInput, { type: "probe" }>, now: Millis): void {
    const { probe, socket, from } = input;
    const path: DirectPath = { socket, remote: from };
    const key = pathKey(path);
    const firstFrom = this.#seen.get(probe.txid);
    // Seen before on another way: somebody replays it, and gets nothing for it.
    if (firstFrom !== undefined && firstFrom !== key) return;
    this.#seen.set(probe.txid, key);
    bound(this.#seen, MAX_SEEN);
    const { codec } = this.#options;
    this.#out.push({ type: "send", socket, to: from, datagram: codec.reply(probe.txid, from) });
    if (firstFrom !== undefined) return;
    const pair = this.#pairs.add(path, "peer-reflexive");
    if (!pair) return;
    pair.heard = true;
    if (probe.size >= BASE_MTU) pair.carriedHere = true;
    if (this.#state.name === "waiting") this.#state = { name: "active", since: now };
    this.#judge(pair, now);
    const needed = probe.probeBack || pair.check.name !== "valid";
    if (!needed || now - pair.lastProbeAt < TRIGGER_GAP_MS) return;
    if (pair.check.name === "waiting") {
      pair.check = { name: "probing", step: 0, at: now, steps: BRIEF_STEPS };
    } else {
      this.#probe(pair, BASE_MTU, now);
    }
  }

  #takeReply(input: Extract<PuncherInput, { type: "reply" }>, now: Millis): void {
    const { reply, socket, from } = input;
    const question = this.#outstanding.get(reply.txid);
    if (!question) return;
    const path: DirectPath = { socket, remote: from };
    if (question.key === undefined) {
      // A guess hit. The answer proves nothing yet (its id went to many ports), so ask properly.
      const pair = this.#pairs.add(path, "peer-reflexive");
      if (pair?.check.name === "waiting") {
        pair.heard = true;
        pair.check = { name: "probing", step: 0, at: now, steps: BRIEF_STEPS };
      }
      return;
    }
    if (question.key !== pathKey(path)) return;
    this.#outstanding.delete(reply.txid);
    const pair = this.#pairs.byKey(question.key);
    if (!pair) return;
    pair.heard = true;
    if (question.size >= BASE_MTU) {
      pair.rtt = now - question.sentAt;
      if (pair.check.name === "valid") {
        pair.check = { name: "valid", at: now + UPKEEP_MS, misses: 0 };
      }
      this.#judge(pair, now);
    } else if (pair.check.name === "waiting") {
      pair.check = { name: "probing", step: 0, at: now, steps: BRIEF_STEPS };
    }
  }

  #takeBusy(busy: boolean, now: Millis): void {
    if (busy === this.#busy) return;
    this.#busy = busy;
    if (busy && this.#state.name === "background") this.#state = { ...this.#state, at: now };
  }

  // --- proofs ---------------------------------------------------------------------------------------------------------

  #judge(pair: Pair, now: Millis): void {
    if (pair.check.name === "valid" || pair.rtt === undefined || !pair.carriedHere) return;
    pair.check = { name: "valid", at: now + UPKEEP_MS, misses: 0 };
    const { path, kind, rtt } = pair;
    this.#out.push({ type: "validated", path, kind, rtt, mtu: BASE_MTU });
    this.#endGuess();
  }

  #lose(path: DirectPath, now: Millis): void {
    const pair = this.#pairs.get(path);
    if (!pair) return;
    forgetProofs(pair);
    pair.check = { name: "probing", step: 0, at: now, steps: ACTIVE_STEPS };
    if (isSamePath(path, this.#inUse)) this.#inUse = undefined;
  }

  // --- what is due ----------------------------------------------------------------------------------------------------

  #run(now: Millis): void {
    for (const pair of this.#pairs) {
      const { check, path } = pair;
      if (check.name === "waiting" || check.at > now) continue;
      if (this.#leftAlone(path, check.name)) continue;
      if (check.name === "probing") this.#step(pair, check, now);
      else this.#lookAfter(pair, check, now);
    }
    const state = this.#state;
    if (state.name === "active") {
      const guessAt = this.#guessDue(state);
      if (guessAt !== undefined && guessAt <= now) this.#startGuess(now);
    }
    this.#runGuess(now);
    this.#settle(now);
  }

  /** The path in use is looked after by the monitor. */
  #leftAlone(path: DirectPath, check: string): boolean {
    return check === "valid" && isSamePath(path, this.#inUse);
  }

  #step(pair: Pair, check: Extract<Pair["check"], { name: "probing" }>, now: Millis): void {
    this.#probe(pair, BASE_MTU, now);
    const wait = check.steps[check.step];
    pair.check = wait === undefined
      ? { name: "waiting" }
      : { ...check, step: check.step + 1, at: now + wait };
  }

  #lookAfter(pair: Pair, check: Extract<Pair["check"], { name: "valid" }>, now: Millis): void {
    if (check.misses >= UPKEEP_MISSES) {
      forgetProofs(pair);
      pair.check = { name: "waiting" };
      this.#out.push({ type: "invalidated", path: pair.path });
      return;
    }
    this.#probe(pair, BASE_MTU, now);
    const wait = Math.max(UPKEEP_RETRY_MS, 2 * (pair.rtt ?? 0));
    pair.check = { name: "valid", at: now + wait, misses: check.misses + 1 };
  }

  #probe(pair: Pair, size: number, now: Millis): void {
    const { codec, random } = this.#options;
    const txid = toHex(random(PROBE_TXID_BYTES));
    this.#outstanding.set(txid, { key: pathKey(pair.path), size, sentAt: now });
    bound(this.#outstanding, MAX_OUTSTANDING);
    pair.lastProbeAt = now;
    const datagram = codec.probe(txid, { size, probeBack: !pair.carriedHere });
    this.#out.push({ type: "send", socket: pair.path.socket, to: pair.path.remote, datagram });
  }

  /** The state follows from what the pairs are at. */
  #settle(now: Millis): void {
    const state = this.#state;
    if (state.name === "waiting" || state.name === "stopped") return;
    if (this.#pairs.anyValid) {
      if (state.name !== "settled") this.#state = { name: "settled", at: now + SETTLED_ROUND_MS };
      else if (state.at <= now) {
        this.#round(now);
        this.#state = { name: "settled", at: now + SETTLED_ROUND_MS };
      }
      return;
    }
    if (state.name === "settled") {
      this.#restart(now);
    } else if (state.name === "active") {
      if (this.#pairs.anyProbing || this.#guess.running || this.#guessDue(state) !== undefined) {
        return;
      }
      const plan = guessPlan(this.#local, this.#remote);
      const facts = { plan, allowed: this.#options.guessing !== false };
      for (const told of attemptOutcomes(this.#pairs, facts)) {
        this.#out.push({ type: "outcome", ...told });
      }
      this.#exchange = { ...this.#exchange, at: now + this.#exchange.wait };
      this.#state = { name: "background", round: 0, at: now + BUSY_ROUND_MS };
    } else if (state.name === "background" && state.at <= now) {
      this.#backgroundRound(state.round, now);
    }
  }

  #backgroundRound(round: number, now: Millis): void {
    this.#round(now);
    const jitter = 0.9 + 0.1 * this.#options.random(1)[0]! / 255;
    const idle = Math.min(BUSY_ROUND_MS * 2 ** Math.min(round + 1, 16), IDLE_ROUND_MS);
    const wait = this.#busy ? BUSY_ROUND_MS : idle;
    this.#state = { name: "background", round: round + 1, at: now + wait * jitter };
    if (this.#options.codec.role !== "agent" || this.#exchange.at > now) return;
    const wanted = Math.min(this.#exchange.wait * 2, EXCHANGE_MAX_MS);
    this.#exchange = { at: now + wanted, wait: wanted };
    this.#out.push({ type: "exchange" });
  }

  /** One small probe to whatever is not proven. */
  #round(now: Millis): void {
    for (const pair of this.#pairs) {
      if (pair.check.name === "waiting") this.#probe(pair, MIN_PROBE_BYTES, now);
    }
  }

  /** Everything anew: unproven pairs are probed from the start, proven ones are asked at once whether they still work. */
  #restart(now: Millis): void {
    if (this.#remote) {
      for (const { address, kind } of interleaveFamilies(this.#remote.candidates)) {
        if (this.#local.families.includes(address.family)) this.#pairs.add(p2pPath(address), kind);
      }
    }
    let index = 0;
    for (const pair of this.#pairs) {
      if (pair.check.name === "valid") {
        pair.check = { ...pair.check, at: now };
        continue;
      }
      const at = now + Math.max(0, ++index - BURST) * PACE_MS;
      forgetProofs(pair);
      pair.check = { name: "probing", step: 0, at, steps: ACTIVE_STEPS };
    }
    const idle = index === 0 && !this.#remote;
    if (!idle && this.#state.name !== "settled") this.#state = { name: "active", since: now };
    else if (!this.#pairs.anyValid && this.#state.name === "settled") {
      this.#state = { name: "active", since: now };
    }
  }

  // --- guessing -------------------------------------------------------------------------------------------------------

  #guessDue(state: Extract<PuncherState, { name: "active" }>): Millis | undefined {
    if (this.#guess.running || this.#options.guessing === false) return undefined;
    const plan = guessPlan(this.#local, this.#remote);
    if (!plan || plan.side === "both-dependent") return undefined;
    const at = state.since + Math.max(GUESS_AFTER_MS, 1.5 * (this.#options.relayRtt ?? 100));
    const notBefore = this.#guessedAt === undefined ? 0 : this.#guessedAt + GUESS_AGAIN_MS;
    return notBefore > at ? undefined : at;
  }

  #startGuess(now: Millis): void {
    const plan = guessPlan(this.#local, this.#remote);
    if (!plan || plan.side === "both-dependent" || this.#pairs.anyValid) return;
    this.#guessedAt = now;
    // The socket that an earlier guess won, if any, leads nowhere any more.
    this.#closeGuessSockets(undefined);
    const { family, side, targets } = plan;
    this.#guess.start(side, { targets, random: this.#options.random, now });
    if (side === "spread") {
      this.#out.push({ type: "open-guess-sockets", family, count: SPREAD_SOCKETS });
    }
  }

  #runGuess(now: Millis): void {
    const wasRunning = this.#guess.running;
    const packets = this.#guess.due(now);
    if (packets.length > 0) {
      const { codec, random } = this.#options;
      const txid = toHex(random(PROBE_TXID_BYTES));
      this.#outstanding.set(txid, { key: undefined, size: MIN_PROBE_BYTES, sentAt: now });
      bound(this.#outstanding, MAX_OUTSTANDING);
      const datagram = codec.probe(txid, { size: MIN_PROBE_BYTES });
      for (const { socket, to } of packets) this.#out.push({ type: "send", socket, to, datagram });
    }
    if (wasRunning && !this.#guess.running) this.#endGuess();
  }

  /** Ends the guess; of the extra sockets the one with a proven way stays. */
  #endGuess(): void {
    this.#guess.stop();
    this.#closeGuessSockets(this.#keptSocket());
  }

  #keptSocket(): SocketId | undefined {
    for (const { path, check } of this.#pairs) {
      if (check.name === "valid" && path.socket !== P2P_SOCKET) return path.socket;
    }
    return undefined;
  }

  #closeGuessSockets(keep: SocketId | undefined): void {
    if (this.#guessSockets === "none" || (this.#guessSockets === "one" && keep !== undefined)) {
      return;
    }
    this.#pairs.retain(({ path }) => path.socket === P2P_SOCKET || path.socket === keep);
    this.#guessSockets = keep === undefined ? "none" : "one";
    this.#out.push({ type: "close-guess-sockets", keep });
  }

  // --- the end --------------------------------------------------------------------------------------------------------

  #stop(): void {
    this.#guess.stop();
    this.#closeGuessSockets(undefined);
    this.#pairs.retain(() => false);
    this.#outstanding.clear();
    this.#state = { name: "stopped" };
  }
}
