/**
 * Is the direct path in use still alive? Keeps its NAT mappings while the tunnel is idle, and under traffic finds out
 * within a few round trips that it died.
 *
 * ```text
 * unused --use--> idle --traffic--> busy --probe overdue--> suspect --answer--> busy
 *                 idle --keep-alive overdue--> suspect --nothing for long enough--> dead
 *                 busy --silent, and our NAT has given us another address--> dead
 * ```
 *
 * Under traffic small probes go out a few times a second, faster as soon as nothing comes in. Packets of the tunnel that
 * come in prove one direction only, so they defer the verdict but do not replace the answers.
 * @module
 */
import { toHex } from "../core/bytes.ts";
import type { Millis } from "../core/clock.ts";
import type { Machine } from "../core/machine.ts";
import { type RandomBytes, uniform } from "../qad/mod.ts";
import { type DirectPath, isSamePath, type SocketId } from "./direct_path.ts";
import {
  MIN_PROBE_BYTES,
  PROBE_TXID_BYTES,
  type ProbeCodec,
  type ProbeReply,
} from "./probe_codec.ts";
import type { Address } from "../core/address.ts";

/** An idle path's keep-alive: under the 30 s after which the stricter NATs forget a mapping. */
export const PATH_KEEP_ALIVE_MS: Millis = 25_000;
/** Traffic within this time makes a path busy. */
const BUSY_MS: Millis = 1000;
/** Between probes under traffic while packets come in: a quarter of the second that fail-over may take. */
const BUSY_PROBE_MS: Millis = 250;
/** Between probes as soon as nothing comes in (or a quarter of the round trip): three of them make a verdict. */
const QUICK_PROBE_MS: Millis = 10;
/**
 * What we sent being unanswered for a round trip and this much is worth a question: the engine acknowledges at once, and
 * timers of busy machines are some milliseconds late.
 */
const ACK_SLACK_MS: Millis = 15;
/** The least of it, for paths of no length. */
const QUIET_MS: Millis = 50;
/** Silence that means death: three round trips and their variation, within these limits … */
const DEAD_MIN_MS: Millis = 150;
const DEAD_MAX_MS: Millis = 700;
/** … with this many probes overdue, so that a few lost packets kill nothing. */
const DEAD_MISSES = 3;
/** The same while packets still come in (then only our direction may be dead, or a queue may be very long). */
const ONE_WAY_DEAD_MS: Millis = 1500;
const ONE_WAY_DEAD_MISSES = 6;
/** Unanswered probes remembered; older ones count as lost anyway. */
const MAX_OUTSTANDING = 32;

/** What a monitor is told. */
export type MonitorInput =
  /** The tunnel uses this path now; `rtt` as far as known. */
  | { readonly type: "use"; readonly path: DirectPath; readonly rtt: Millis }
  /** The tunnel uses no direct path. */
  | { readonly type: "release" }
  /** The tunnel's own packets were sent or received on the path. Once per batch is enough. */
  | { readonly type: "traffic"; readonly sent: boolean; readonly received: boolean }
  | {
    readonly type: "reply";
    readonly reply: ProbeReply;
    readonly socket: SocketId;
    readonly from: Address;
  }
  /** The network changed: ask at once. */
  | { readonly type: "network-changed" }
  /** Our NAT has given us another address: where the path is silent, too, that is why, and it stays so. */
  | { readonly type: "rebound" }
  | { readonly type: "time" };

/** What a monitor wants done. */
export type MonitorOutput =
  | {
    readonly type: "send";
    readonly socket: SocketId;
    readonly to: Address;
    readonly datagram: Uint8Array;
  }
  /**
   * The other end has fallen silent under traffic, `quiet` milliseconds ago: make sure of the other ways while it is found out why.
   * Told once per silence.
   */
  | { readonly type: "doubt"; readonly path: DirectPath; readonly quiet: Millis }
  /** A probe was answered; `rtt` is smoothed. */
  | { readonly type: "alive"; readonly path: DirectPath; readonly rtt: Millis }
  /**
   * Nothing came back for `quiet` milliseconds, and no answer to what was asked from `since` on: leave it. `rebound`: our NAT has given
   * us another address. Told once.
   */
  | {
    readonly type: "dead";
    readonly path: DirectPath;
    readonly quiet: Millis;
    readonly since: Millis;
    readonly rebound: boolean;
  };

/** What a monitor is at. */
export type MonitorState =
  | { readonly name: "unused" }
  | { readonly name: "idle"; readonly path: DirectPath; readonly at: Millis }
  | { readonly name: "busy"; readonly path: DirectPath; readonly until: Millis }
  | { readonly name: "suspect"; readonly path: DirectPath; readonly until: Millis }
  | { readonly name: "dead"; readonly path: DirectPath };

/** Watches the path in use. */
export class PathMonitor implements Machine<MonitorInput, MonitorOutput> {
  #codec: ProbeCodec;
  #random: RandomBytes;
  #state: MonitorState = { name: "unused" };
  /** Sent and not answered since the last answer, oldest first. */
  #unanswered = new Map<string, Millis>();
  #lastProbe: Millis = -Infinity;
  #lastReply: Millis = 0;
  #lastReceived: Millis = 0;
  /** Since when something of ours is unanswered; `undefined` where nothing is. */
  #waitingSince: Millis | undefined;
  #doubted = false;
  /** Our NAT has given us another address since anything came. */
  #rebound = false;
  /** The round trip is from hearsay until the first answer. */
  #measured = false;
  #rtt: Millis = 0;
  #rttVar: Millis = 0;
  #out: MonitorOutput[] = [];

  constructor(options: { codec: ProbeCodec; random: RandomBytes }) {
    this.#codec = options.codec;
    this.#random = options.random;
  }

  get state(): MonitorState {
    return this.#state;
  }

  handle(input: MonitorInput, now: Millis): void {
    const state = this.#state;
    switch (input.type) {
      case "use":
        this.#use(input.path, input.rtt, now);
        break;
      case "release":
        this.#state = { name: "unused" };
        this.#unanswered.clear();
        break;
      case "traffic":
        this.#takeTraffic(input, now);
        if (state.name === "idle") this.#state = { ...state, name: "busy", until: now + BUSY_MS };
        else if (state.name === "busy" || state.name === "suspect") {
          this.#state = { ...state, until: now + BUSY_MS };
        }
        break;
      case "reply":
        this.#answered(input, now);
        break;
      case "network-changed":
        if (state.name === "idle") this.#state = { ...state, at: now };
        break;
      case "rebound":
        this.#rebound = true;
        if (state.name === "idle") this.#state = { ...state, at: now };
        break;
      case "time":
        break;
    }
    this.#run(now);
  }

  poll(): MonitorOutput | undefined {
    return this.#out.shift();
  }

  deadline(): Millis | undefined {
    const state = this.#state;
    if (state.name === "unused" || state.name === "dead") return undefined;
    const due = state.name === "idle" ? state.at : this.#nextProbe(state.name);
    const rest = state.name === "busy" && this.#unanswered.size === 0 ? state.until : Infinity;
    return Math.min(due, this.#overdueAt(), rest);
  }

  #use(path: DirectPath, rtt: Millis, now: Millis): void {
    this.#state = { name: "idle", path, at: now };
    this.#unanswered.clear();
    this.#lastProbe = -Infinity;
    this.#lastReply = now;
    this.#lastReceived = now;
    this.#waitingSince = undefined;
    this.#doubted = this.#rebound = false;
    this.#measured = false;
    this.#rtt = rtt;
    this.#rttVar = rtt / 2;
  }

  #takeTraffic({ sent, received }: Extract<MonitorInput, { type: "traffic" }>, now: Millis): void {
    if (received) this.#heard(now);
    if (sent) this.#waitingSince ??= now;
  }

  /** Something came in: whatever was asked before does not count as unanswered any more. */
  #heard(now: Millis): void {
    this.#lastReceived = now;
    this.#waitingSince = undefined;
    this.#doubted = this.#rebound = false;
  }

  #answered(input: Extract<MonitorInput, { type: "reply" }>, now: Millis): void {
    const state = this.#state;
    if (state.name === "unused" || state.name === "dead") return;
    const sentAt = this.#unanswered.get(input.reply.txid);
    const path = { socket: input.socket, remote: input.from };
    if (sentAt === undefined || !isSamePath(path, state.path)) return;
    this.#unanswered.clear();
    this.#lastReply = now;
    this.#heard(now);
    this.#measure(now - sentAt);
    this.#out.push({ type: "alive", path: state.path, rtt: this.#rtt });
    if (state.name === "suspect") this.#state = { ...state, name: "busy" };
  }

  /** RFC 6298 §2.2 and §2.3; less variation to begin with, as what is known of the path says about the same. */
  #measure(rtt: Millis): void {
    if (this.#measured) {
      this.#rttVar = 0.75 * this.#rttVar + 0.25 * Math.abs(this.#rtt - rtt);
      this.#rtt = 0.875 * this.#rtt + 0.125 * rtt;
    } else {
      this.#measured = true;
      this.#rtt = rtt;
      this.#rttVar = rtt / 4;
    }
  }

  #run(now: Millis): void {
    let state = this.#state;
    if (state.name === "busy" && state.until <= now && this.#unanswered.size === 0) {
      this.#state = state = { name: "idle", path: state.path, at: now + this.#keepAliveIn() };
    }
    if (state.name === "unused" || state.name === "dead") return;
    if ((state.name === "idle" || state.name === "busy") && this.#overdueAt() <= now) {
      const until = state.name === "busy" ? state.until : now;
      this.#state = state = { name: "suspect", path: state.path, until };
    }
    const rebound = this.#rebound && state.name !== "idle" && this.#quietFrom() <= now;
    if (rebound || state.name === "suspect" && this.#isDead(now)) {
      const quiet = now - this.#lastReply;
      const since = this.#unanswered.values().next().value ?? now;
      this.#state = { name: "dead", path: state.path };
      this.#unanswered.clear();
      this.#out.push({ type: "dead", path: state.path, quiet, since, rebound });
      return;
    }
    if (state.name !== "idle" && !this.#doubted && this.#quietFrom() <= now) {
      this.#doubted = true;
      this.#out.push({ type: "doubt", path: state.path, quiet: now - this.#waitingSince! });
    }
    const due = state.name === "idle" ? state.at : this.#nextProbe(state.name);
    if (due > now) return;
    this.#probe(state.path, now);
    if (state.name === "idle") this.#state = { ...state, at: now + this.#keepAliveIn() };
  }

  #keepAliveIn(): Millis {
    return PATH_KEEP_ALIVE_MS * (0.8 + 0.2 * uniform(this.#random));
  }

  /** When the next probe is due under traffic: soon after the last packet came in, or a quarter of a second. */
  #nextProbe(name: "busy" | "suspect"): Millis {
    const quick = this.#lastProbe + Math.max(QUICK_PROBE_MS, this.#rtt / 4);
    if (name === "suspect") return quick;
    return Math.min(this.#lastProbe + BUSY_PROBE_MS, Math.max(this.#quietFrom(), quick));
  }

  /** From when on the silence is odd. */
  #quietFrom(): Millis {
    if (this.#waitingSince === undefined) return Infinity;
    return this.#waitingSince + Math.max(QUIET_MS, this.#rtt + ACK_SLACK_MS);
  }

  #replyWithin(): Millis {
    return Math.max(1.25 * this.#rtt, this.#rtt + 4 * this.#rttVar) + 15;
  }

  /** When the oldest unanswered probe counts as missing. */
  #overdueAt(): Millis {
    if (this.#state.name === "suspect") return Infinity;
    const oldest = this.#unanswered.values().next().value;
    return oldest === undefined ? Infinity : oldest + this.#replyWithin();
  }

  #isDead(now: Millis): boolean {
    const overdue = now - this.#replyWithin();
    let misses = 0;
    let first: Millis | undefined;
    for (const sentAt of this.#unanswered.values()) {
      first ??= sentAt;
      if (sentAt <= overdue) misses++;
    }
    if (first === undefined) return false;
    const usual = 3 * this.#rtt + 4 * this.#rttVar;
    const limit = Math.min(Math.max(usual, DEAD_MIN_MS), DEAD_MAX_MS);
    const silent = now - this.#lastReceived >= limit;
    // After an idle time everything is long silent: the questions themselves must be old enough, too.
    const asked = now - first >= limit * 0.6;
    if (misses >= DEAD_MISSES && silent && asked) return true;
    return misses >= ONE_WAY_DEAD_MISSES && now - first >= ONE_WAY_DEAD_MS;
  }

  #probe(path: DirectPath, now: Millis): void {
    const txid = toHex(this.#random(PROBE_TXID_BYTES));
    if (this.#unanswered.size >= MAX_OUTSTANDING) {
      // The second oldest: the oldest tells how long nothing was answered.
      const [, second] = this.#unanswered.keys();
      this.#unanswered.delete(second!);
    }
    this.#unanswered.set(txid, now);
    this.#lastProbe = now;
    const datagram = this.#codec.probe(txid, { size: MIN_PROBE_BYTES });
    this.#out.push({ type: "send", socket: path.socket, to: path.remote, datagram });
  }
}
