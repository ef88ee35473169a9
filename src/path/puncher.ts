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
  carriesHere,
  checkAgain,
  forgetProofs,
  freshlyValid,
  isHeard,
  isProven,
  noteAnswer,
  type Pair,
  probing,
} from "./pair.ts";
import { GuessPolicy } from "./guess_policy.ts";
import { guessPlan, PortGuess, SPREAD_SOCKETS } from "./port_guess.ts";
import { PairTable } from "./pair_table.ts";
import { MIN_PROBE_BYTES, type ProbeCodec } from "./probe_codec.ts";
import { ProbeLedger } from "./probe_ledger.ts";
import type { LocalFacts, PuncherInput, PuncherOutput, PuncherState } from "./puncher_io.ts";
import { BUSY_ROUND_MS, ExchangePlan, roundWait } from "./rounds.ts";

/** Between a probe and one triggered by the peer's on the same way: the first is as good as the second. */
const TRIGGER_GAP_MS: Millis = 5;
/** With a proven way, the other candidates are tried again this often (and at once when the network changes). */
const SETTLED_ROUND_MS: Millis = 60_000;
/** How a puncher works. */
export interface PuncherOptions {
  readonly codec: ProbeCodec;
  readonly random: RandomBytes;
  /** Guess ports where one NAT maps per destination. @default true */
  readonly guessing?: boolean;
  /** Round trip to the other end over the relay: guessing waits for one and a half. @default 100 ms */
  readonly relayRtt?: Millis;
}

/** Finds the direct ways of one tunnel. */
export class Puncher implements Machine<PuncherInput, PuncherOutput> {
  #options: PuncherOptions;
  #state: PuncherState = { name: "waiting" };
  #local: LocalFacts = { families: [4, 6], mapping: {} };
  #remote: PathOffer | undefined;
  #pairs = new PairTable();
  #ledger: ProbeLedger;
  #guess = new PortGuess();
  #policy: GuessPolicy;
  #guessSockets: "none" | "one" | "many" = "none";
  #inUse: DirectPath | undefined;
  #busy = false;
  #exchange = new ExchangePlan();
  #out: PuncherOutput[] = [];

  constructor(options: PuncherOptions) {
    this.#options = options;
    this.#ledger = new ProbeLedger(options);
    this.#policy = new GuessPolicy(options);
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
      case "recheck":
        this.#pairs.recheck(now);
        break;
      case "network-changed":
        this.#policy.forget();
        for (const pair of this.#pairs) if (pair.check.name !== "valid") forgetProofs(pair);
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
    // Where the other end has been heard it is, whatever it says: what is being proven must not be thrown away.
    this.#pairs.retain((pair) =>
      pair.check.name === "valid" || pair.kind === "peer-reflexive" || isHeard(pair, now) ||
      offered.has(pair.path.remote.key)
    );
    this.#restart(now);
  }

  #takeProbe(input: Extract<PuncherInput, { type: "probe" }>, now: Millis): void {
    const { probe, socket, from } = input;
    const path: DirectPath = { socket, remote: from };
    const heard = this.#ledger.hear(probe.txid, pathKey(path));
    // Somebody replays it, and gets nothing for it. (A way that we know is heard all the same, or a replay that overtakes
    // the probe would shut it out.)
    if (heard === "elsewhere" && !this.#pairs.get(path)) return;
    const { codec } = this.#options;
    this.#out.push({ type: "send", socket, to: from, datagram: codec.reply(probe.txid, from) });
    if (heard === "repeated") return;
    const pair = this.#pairs.add(path, "peer-reflexive");
    if (!pair) return;
    pair.heardAt = now;
    if (probe.size >= BASE_MTU) pair.carriedAt = now;
    if (this.#state.name === "waiting") this.#state = { name: "active", since: now };
    this.#judge(pair, now);
    const needed = probe.probeBack || pair.check.name !== "valid";
    if (!needed || now - pair.lastProbeAt < TRIGGER_GAP_MS) return;
    if (pair.check.name === "waiting") {
      pair.check = probing(now, BRIEF_STEPS);
    } else {
      this.#probe(pair, BASE_MTU, now);
    }
  }

  #takeReply(input: Extract<PuncherInput, { type: "reply" }>, now: Millis): void {
    const { reply, socket, from } = input;
    const path: DirectPath = { socket, remote: from };
    const asked = this.#ledger.answered(reply.txid, pathKey(path));
    if (!asked) return;
    // An answered guess proves nothing (its id went to many ports), so ask properly. Only where we guessed, though.
    const guessed = asked.way === undefined &&
      this.#remote?.candidates.some(({ address }) => address.host === from.host);
    const pair = guessed ? this.#pairs.add(path, "peer-reflexive") : this.#pairs.get(path);
    if (!pair) return;
    pair.heardAt = now;
    if (asked.size >= BASE_MTU) {
      noteAnswer(pair, now - asked.sentAt, now);
      if (pair.check.name === "valid") {
        pair.check = freshlyValid(now);
        this.#out.push({ type: "confirmed", path: pair.path });
      }
      this.#judge(pair, now);
    } else if (pair.check.name === "waiting") {
      pair.check = probing(now, BRIEF_STEPS);
    }
  }

  #takeBusy(busy: boolean, now: Millis): void {
    if (busy === this.#busy) return;
    this.#busy = busy;
    if (busy && this.#state.name === "background") this.#state = { ...this.#state, at: now };
  }

  // --- proofs ---------------------------------------------------------------------------------------------------------

  #judge(pair: Pair, now: Millis): void {
    if (pair.check.name === "valid" || !isProven(pair, now)) return;
    pair.check = freshlyValid(now);
    const { path, kind, rtt } = pair;
    this.#out.push({ type: "validated", path, kind, rtt, mtu: BASE_MTU });
    this.#exchange.succeeded();
    this.#endGuess();
  }

  #lose(path: DirectPath, now: Millis): void {
    const pair = this.#pairs.get(path);
    if (!pair) return;
    forgetProofs(pair);
    pair.check = probing(now, ACTIVE_STEPS);
    if (isSamePath(path, this.#inUse)) this.#inUse = undefined;
  }

  // --- what is due ----------------------------------------------------------------------------------------------------

  #run(now: Millis): void {
    this.#checkPairs(now);
    const state = this.#state;
    if (state.name === "active") {
      const guessAt = this.#guessDue(state);
      if (guessAt !== undefined && guessAt <= now) this.#startGuess(now);
    }
    this.#runGuess(now);
    this.#settle(now);
  }

  #checkPairs(now: Millis): void {
    for (const pair of this.#pairs) {
      const { check, path } = pair;
      if (check.name === "waiting" || check.at > now) continue;
      if (this.#leftAlone(path, check.name)) continue;
      const next = checkAgain(pair, now);
      if (next) this.#probe(pair, BASE_MTU, now);
      else {
        forgetProofs(pair);
        this.#out.push({ type: "invalidated", path });
      }
      pair.check = next ?? { name: "waiting" };
    }
  }

  /** The path in use is looked after by the monitor. */
  #leftAlone(path: DirectPath, check: string): boolean {
    return check === "valid" && isSamePath(path, this.#inUse);
  }

  #probe(pair: Pair, size: number, now: Millis): void {
    const { codec } = this.#options;
    const txid = this.#ledger.ask({ way: pathKey(pair.path), size, sentAt: now });
    pair.lastProbeAt = now;
    const datagram = codec.probe(txid, { size, probeBack: !carriesHere(pair, now) });
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
      this.#checkPairs(now);
    } else if (state.name === "active") {
      if (this.#pairs.anyProbing || this.#guess.running || this.#guessDue(state) !== undefined) {
        return;
      }
      const plan = guessPlan(this.#local, this.#remote);
      const facts = { plan, allowed: this.#policy.allowed };
      for (const told of attemptOutcomes(this.#pairs, { ...facts, since: state.since })) {
        this.#out.push({ type: "outcome", ...told });
      }
      this.#exchange.failed(now);
      this.#state = { name: "background", round: 0, at: now + BUSY_ROUND_MS };
    } else if (state.name === "background" && state.at <= now) {
      this.#backgroundRound(state.round, now);
    }
  }

  #backgroundRound(round: number, now: Millis): void {
    this.#round(now);
    const share = this.#options.random(1)[0]! / 255;
    const wait = roundWait(round, { busy: this.#busy, share });
    this.#state = { name: "background", round: round + 1, at: now + wait };
    if (this.#options.codec.role === "agent" && this.#exchange.due(now)) {
      this.#out.push({ type: "exchange" });
    }
  }

  /** One small probe to whatever is not proven. */
  #round(now: Millis): void {
    this.#pairs.forgetSilent(now);
    for (const pair of this.#pairs) {
      if (pair.check.name === "waiting") this.#probe(pair, MIN_PROBE_BYTES, now);
    }
  }

  /** Everything anew. */
  #restart(now: Millis): void {
    if (this.#remote) this.#pairs.addOffered(this.#remote.candidates, this.#local.families);
    this.#pairs.probeAnew(now);
    const nobody = !this.#remote && !this.#pairs.anyProbing;
    const settled = this.#state.name === "settled" && this.#pairs.anyValid;
    if (!nobody && !settled) this.#state = { name: "active", since: now };
  }

  // --- guessing -------------------------------------------------------------------------------------------------------

  #guessDue(state: Extract<PuncherState, { name: "active" }>): Millis | undefined {
    if (this.#guess.running) return undefined;
    return this.#policy.dueAt(guessPlan(this.#local, this.#remote), state.since);
  }

  #startGuess(now: Millis): void {
    const plan = guessPlan(this.#local, this.#remote);
    if (!this.#policy.useful(plan) || this.#pairs.anyValid) return;
    this.#policy.started(now);
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
      const txid = this.#ledger.ask({ way: undefined, size: MIN_PROBE_BYTES, sentAt: now });
      const datagram = this.#options.codec.probe(txid, { size: MIN_PROBE_BYTES });
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
    this.#state = { name: "stopped" };
  }
}
