/**
 * How large a packet the path in use carries (RFC 8899, DPLPMTUD): probes of growing sizes; the tunnel may send what was
 * answered and never more. Under traffic a probe of that size goes out now and then; when these stop arriving though
 * smaller ones do, the size falls back to the base at once and the search starts again.
 *
 * ```text
 * unused --use--> searching --nothing larger passes--> settled --probe overdue--> verifying
 *                     ^-------------- black hole ---------------------------------'
 * ```
 * @module
 */
import type { Address } from "../core/address.ts";
import { toHex } from "../core/bytes.ts";
import type { Millis } from "../core/clock.ts";
import type { Machine } from "../core/machine.ts";
import type { RandomBytes } from "../qad/mod.ts";
import { BASE_MTU, type DirectPath, isSamePath, type SocketId } from "./direct_path.ts";
import {
  MIN_PROBE_BYTES,
  PROBE_TXID_BYTES,
  type ProbeCodec,
  type ProbeReply,
} from "./probe_codec.ts";

/**
 * Sizes worth trying, in bytes of UDP payload: what fits IPv6's least MTU with tunnels around it, usual VPN and PPPoE links,
 * Ethernet (1500 less 48 for IPv6, less 28 for IPv4). All at once, so the search takes one round trip.
 */
const ETHERNET_SIZES = [1280, 1350, 1392, 1432, 1452, 1472];
/** The same for links with jumbo frames (4000; 9000 less headers; loopback), tried once Ethernet's largest has passed. */
const JUMBO_SIZES = [4000, 8952, 8972, 16_000];

/** RFC 8899 §5.1.2 MAX_PROBES: a size is given up after this many lost probes. */
const MAX_PROBES = 3;
/** RFC 8899 §5.1.1 PMTU_RAISE_TIMER: how often a larger size is tried again. */
const RAISE_MS: Millis = 600_000;
/** How often the size is verified under traffic. */
const VERIFY_MS: Millis = 500;
/** Traffic within this time makes a path busy. */
const BUSY_MS: Millis = 1000;
/** Full-size probes lost in a row, with smaller ones answered, that make a black hole (RFC 8899 §4.3). */
const BLACK_HOLE_MISSES = 4;
const BLACK_HOLE_ANSWERS = 2;
/** Unanswered probes remembered. */
const MAX_OUTSTANDING = 64;

/** What a search is told. */
export type MtuInput =
  /** The path to search, its round trip, and what is proven of it already. */
  | {
    readonly type: "use";
    readonly path: DirectPath;
    readonly rtt: Millis;
    readonly proven: number;
  }
  | { readonly type: "release" }
  /** The tunnel sends or receives on the path. Once per batch is enough. */
  | { readonly type: "traffic" }
  | {
    readonly type: "reply";
    readonly reply: ProbeReply;
    readonly socket: SocketId;
    readonly from: Address;
  }
  | { readonly type: "time" };

/** What a search wants done. */
export type MtuOutput =
  | {
    readonly type: "send";
    readonly socket: SocketId;
    readonly to: Address;
    readonly datagram: Uint8Array;
  }
  /** From now on packets of this size, and no larger ones. */
  | { readonly type: "mtu"; readonly path: DirectPath; readonly mtu: number }
  /** Not even {@linkcode BASE_MTU} bytes pass any more though small packets do: the path is of no use. */
  | { readonly type: "unfit"; readonly path: DirectPath };

/** What a search is at. */
export type MtuState =
  | { readonly name: "unused" }
  | {
    readonly name: "searching";
    readonly path: DirectPath;
    readonly sizes: readonly number[];
    readonly tries: number;
    readonly at: Millis;
  }
  | {
    readonly name: "settled";
    readonly path: DirectPath;
    readonly raiseAt: Millis;
    readonly verifyAt: Millis;
  }
  | {
    readonly name: "verifying";
    readonly path: DirectPath;
    readonly misses: number;
    readonly baseAnswers: number;
    readonly smallAnswers: number;
    readonly at: Millis;
  };

/** Finds and guards the packet size of the path in use. */
export class MtuSearch implements Machine<MtuInput, MtuOutput> {
  #codec: ProbeCodec;
  #random: RandomBytes;
  #limit: number;
  #state: MtuState = { name: "unused" };
  #mtu = BASE_MTU;
  #rtt: Millis = 0;
  #busyUntil: Millis = -Infinity;
  #raiseAt: Millis = 0;
  #outstanding = new Map<string, { size: number; sentAt: Millis }>();
  #out: MtuOutput[] = [];

  /** `limit`: bytes that this end can send and the engine was configured for, at most. @default 1472 */
  constructor(options: { codec: ProbeCodec; random: RandomBytes; limit?: number }) {
    this.#codec = options.codec;
    this.#random = options.random;
    this.#limit = Math.max(options.limit ?? 1472, BASE_MTU);
  }

  get state(): MtuState {
    return this.#state;
  }

  handle(input: MtuInput, now: Millis): void {
    switch (input.type) {
      case "use":
        this.#rtt = input.rtt;
        this.#mtu = Math.max(BASE_MTU, Math.min(input.proven, this.#limit));
        this.#outstanding.clear();
        this.#search(input.path, now);
        break;
      case "release":
        this.#outstanding.clear();
        this.#state = { name: "unused" };
        break;
      case "traffic":
        this.#takeTraffic(now);
        break;
      case "reply":
        this.#takeReply(input, now);
        break;
      case "time":
        break;
    }
    this.#run(now);
  }

  poll(): MtuOutput | undefined {
    return this.#out.shift();
  }

  deadline(): Millis | undefined {
    const state = this.#state;
    if (state.name === "unused") return undefined;
    if (state.name !== "settled") return state.at;
    return state.verifyAt <= this.#busyUntil
      ? Math.min(state.raiseAt, state.verifyAt)
      : state.raiseAt;
  }

  #takeTraffic(now: Millis): void {
    this.#busyUntil = now + BUSY_MS;
    const state = this.#state;
    if (state.name === "settled" && state.verifyAt < now) {
      this.#state = { ...state, verifyAt: now + VERIFY_MS };
    }
  }

  #takeReply(input: Extract<MtuInput, { type: "reply" }>, now: Millis): void {
    const state = this.#state;
    if (state.name === "unused") return;
    const question = this.#outstanding.get(input.reply.txid);
    if (!question || !isSamePath({ socket: input.socket, remote: input.from }, state.path)) return;
    this.#outstanding.delete(input.reply.txid);
    this.#rtt = Math.max(1, now - question.sentAt);
    const { size } = question;
    if (size > this.#mtu && state.name === "searching") {
      this.#mtu = size;
      this.#out.push({ type: "mtu", path: state.path, mtu: size });
      if (state.sizes.every((wanted) => wanted <= size)) this.#search(state.path, now);
    } else if (state.name === "verifying") {
      if (size >= this.#mtu) this.#rest(state.path, now);
      else if (size === BASE_MTU) {
        this.#state = { ...state, baseAnswers: state.baseAnswers + 1 };
      } else this.#state = { ...state, smallAnswers: state.smallAnswers + 1 };
    }
  }

  #run(now: Millis): void {
    const state = this.#state;
    switch (state.name) {
      case "unused":
        return;
      case "searching":
        if (state.at <= now) this.#try(state, now);
        return;
      case "settled":
        if (state.raiseAt <= now) this.#search(state.path, now);
        else if (state.verifyAt <= Math.min(now, this.#busyUntil)) this.#verify(state.path, now);
        return;
      case "verifying":
        if (state.at <= now) this.#judge(state, now);
    }
  }

  #wait(): Millis {
    return Math.max(2 * this.#rtt, 100);
  }

  /** Starts with the next larger sizes, or settles where there is none. */
  #search(path: DirectPath, now: Millis): void {
    // IPv6's headers are 20 bytes longer, so its next size ends where IPv4's does 20 bytes later.
    const ethernet = path.remote.family === 6 ? 1452 : 1472;
    const tier = this.#mtu < ethernet
      ? ETHERNET_SIZES.filter((size) => size <= ethernet)
      : JUMBO_SIZES;
    const sizes = tier.filter((size) => size > this.#mtu && size <= this.#limit);
    if (sizes.length === 0) return this.#settle(path, now);
    this.#state = { name: "searching", path, sizes, tries: 0, at: now };
    this.#run(now);
  }

  #try(state: Extract<MtuState, { name: "searching" }>, now: Millis): void {
    const sizes = state.sizes.filter((size) => size > this.#mtu);
    if (sizes.length === 0 || state.tries >= MAX_PROBES) return this.#settle(state.path, now);
    for (const size of sizes) this.#probe(state.path, size, now);
    this.#state = { ...state, sizes, tries: state.tries + 1, at: now + this.#wait() };
  }

  /** The search is over: the next one is due in a while, however often the size is verified until then. */
  #settle(path: DirectPath, now: Millis): void {
    this.#raiseAt = now + RAISE_MS;
    this.#rest(path, now);
  }

  #rest(path: DirectPath, now: Millis): void {
    this.#state = { name: "settled", path, raiseAt: this.#raiseAt, verifyAt: now + VERIFY_MS };
  }

  #verify(path: DirectPath, now: Millis): void {
    this.#probe(path, this.#mtu, now);
    const at = now + this.#wait();
    this.#state = { name: "verifying", path, misses: 0, baseAnswers: 0, smallAnswers: 0, at };
  }

  /** The full-size probe is overdue: was it the size, or is the path in trouble? */
  #judge(state: Extract<MtuState, { name: "verifying" }>, now: Millis): void {
    const { path } = state;
    const misses = state.misses + 1;
    if (misses > BLACK_HOLE_MISSES) {
      if (this.#mtu > BASE_MTU && state.baseAnswers >= BLACK_HOLE_ANSWERS) {
        this.#mtu = BASE_MTU;
        this.#outstanding.clear();
        this.#out.push({ type: "mtu", path, mtu: BASE_MTU });
        return this.#search(path, now);
      }
      if (state.baseAnswers === 0 && state.smallAnswers >= BLACK_HOLE_ANSWERS) {
        this.#state = { name: "unused" };
        this.#out.push({ type: "unfit", path });
        return;
      }
    }
    // Silence altogether is the monitor's business; go on asking, more slowly.
    const at = now + (misses > 2 * BLACK_HOLE_MISSES ? 1000 : this.#wait());
    this.#state = { ...state, misses, at };
    this.#probe(path, this.#mtu, now);
    if (this.#mtu > BASE_MTU) this.#probe(path, BASE_MTU, now);
    this.#probe(path, MIN_PROBE_BYTES, now);
  }

  #probe(path: DirectPath, size: number, now: Millis): void {
    const txid = toHex(this.#random(PROBE_TXID_BYTES));
    if (this.#outstanding.size >= MAX_OUTSTANDING) {
      this.#outstanding.delete(this.#outstanding.keys().next().value!);
    }
    this.#outstanding.set(txid, { size, sentAt: now });
    const datagram = this.#codec.probe(txid, { size });
    this.#out.push({ type: "send", socket: path.socket, to: path.remote, datagram });
  }
}
