/**
 * The direct side of one tunnel: puncher, monitor, packet size and choice wired together, so that a role holds one thing
 * with three verbs. It decides nothing that the parts do not decide; it hands each what the others found out.
 *
 * What the driver owes it:
 * - every datagram of ours that begins with a probe's or reply's first byte and names this tunnel;
 * - a note of the tunnel's own traffic, once per batch;
 * - our own facts (`local`) and the other end's offers (`remote`) as they come and change;
 * - at the agent: to move the tunnel where `use` says, and to say how that went (`migrated`, `migration-failed`);
 *   at the connector: to say where the tunnel's packets come from (`migrated`), as it follows the agent.
 * @module
 */
import type { Address } from "../core/address.ts";
import type { Millis } from "../core/clock.ts";
import type { Machine } from "../core/machine.ts";
import type { RandomBytes } from "../qad/mod.ts";
import { linkOf, type PathOffer } from "./candidate.ts";
import { BASE_MTU, type DirectPath, isSamePath, pathKey, type SocketId } from "./direct_path.ts";
import { MtuSearch } from "./mtu_search.ts";
import { choosePath, isLocalRange, type PathOption } from "./path_choice.ts";
import { PathMonitor } from "./path_monitor.ts";
import type { ProbeCodec, ProbeRefusal } from "./probe_codec.ts";
import { Puncher } from "./puncher.ts";
import type { LocalFacts, PuncherOutput } from "./puncher_io.ts";

/** The tunnel counts as busy for this long after its last packet. */
const BUSY_MS: Millis = 2000;
/** A path that died or failed once is taken back as soon as it is proven; again within {@linkcode FLAP_MS}, later and later. */
const HOLD_FIRST_MS: Millis = 1000;
const HOLD_MAX_MS: Millis = 30_000;
const FLAP_MS: Millis = 60_000;
/** Until the first answer on a path that the peer chose before we had proven it. */
const UNKNOWN_RTT_MS: Millis = 100;
/** Paths whose troubles are remembered; the oldest is forgotten. */
const MAX_TROUBLES = 64;

/** What the paths of a tunnel are told. */
export type TunnelPathsInput =
  | { readonly type: "local"; readonly local: LocalFacts }
  | { readonly type: "remote"; readonly offer: PathOffer }
  /** A datagram that begins with the byte of a probe or of a reply, and names this tunnel. */
  | {
    readonly type: "datagram";
    readonly socket: SocketId;
    readonly from: Address;
    readonly datagram: Uint8Array;
  }
  | { readonly type: "guess-sockets"; readonly sockets: readonly SocketId[] }
  /** The tunnel's own packets went or came; `path` is `undefined` for the relayed path. Once per batch is enough. */
  | {
    readonly type: "traffic";
    readonly path: DirectPath | undefined;
    readonly sent: boolean;
    readonly received: boolean;
  }
  /** The tunnel runs on this path now; `undefined`: relayed. */
  | { readonly type: "migrated"; readonly path: DirectPath | undefined }
  /** The tunnel could not move to the path that `use` named. */
  | { readonly type: "migration-failed"; readonly path: DirectPath }
  /** `elsewhere`: what the tunnel sends on its path leaves from another address than before. */
  | { readonly type: "network-changed"; readonly elsewhere?: boolean }
  /** Our NAT has given us another address of that family. */
  | { readonly type: "rebound"; readonly family: 4 | 6 }
  | { readonly type: "time" }
  | { readonly type: "stop" };

/** What the paths of a tunnel want done. */
export type TunnelPathsOutput =
  | {
    readonly type: "send";
    readonly socket: SocketId;
    readonly to: Address;
    readonly datagram: Uint8Array;
  }
  /**
   * Move the tunnel; `path` is `undefined` for the relayed path. `urgent`: the way in use is dead, so what takes its time is to be
   * waited for on the relayed path. Agent only.
   */
  | {
    readonly type: "use";
    readonly path: DirectPath | undefined;
    readonly reason: string;
    readonly urgent?: true;
  }
  /** Packets on this path may have this size (until it is proven otherwise: {@linkcode BASE_MTU}). */
  | { readonly type: "mtu"; readonly path: DirectPath; readonly mtu: number }
  /** A direct path was left: tell address discovery to `refresh`, as perhaps our NAT gave us another address. */
  | { readonly type: "refresh" }
  /** The other end is silent under traffic, since `quiet` milliseconds: see to it that the relayed path works, should it be needed. */
  | { readonly type: "doubt"; readonly path: DirectPath; readonly quiet: Millis }
  /** The smoothed round trip of the path in use. */
  | { readonly type: "rtt"; readonly path: DirectPath; readonly rtt: Millis }
  | Extract<
    PuncherOutput,
    { type: "exchange" | "open-guess-sockets" | "close-guess-sockets" | "outcome" }
  >
  /** A datagram was none of ours: count it. */
  | { readonly type: "dropped"; readonly reason: ProbeRefusal };

/** How the paths of a tunnel work. */
export interface TunnelPathsOptions {
  readonly codec: ProbeCodec;
  readonly random: RandomBytes;
  /** @default true */
  readonly guessing?: boolean;
  /** Round trip to the other end over the relay. @default 100 ms */
  readonly relayRtt?: Millis;
  /** Largest packet worth trying, in bytes of UDP payload. @default 1472 */
  readonly mtuLimit?: number;
}

interface Proven extends PathOption {
  mtu: number;
  /** When it last showed that it works. */
  at: Millis;
  /** Something has happened since that may have broken it, too: not to be chosen until it has shown that it works. */
  stale: boolean;
}

/** The direct side of one tunnel. */
export class TunnelPaths implements Machine<TunnelPathsInput, TunnelPathsOutput> {
  #codec: ProbeCodec;
  #puncher: Puncher;
  #monitor: PathMonitor;
  #mtu: MtuSearch;
  #proven = new Map<string, Proven>();
  #troubles = new Map<string, { count: number; at: Millis; until: Millis }>();
  /** Where the tunnel runs; `undefined`: relayed. */
  #current: DirectPath | undefined;
  /** Where it was last told to go. */
  #wanted: DirectPath | undefined;
  #links: readonly string[] = [];
  #busyUntil: Millis = -Infinity;
  #busy = false;
  #out: TunnelPathsOutput[] = [];

  constructor(options: TunnelPathsOptions) {
    const { codec, random, guessing, relayRtt, mtuLimit } = options;
    this.#codec = codec;
    this.#puncher = new Puncher({
      codec,
      random,
      ...(guessing !== undefined && { guessing }),
      ...(relayRtt !== undefined && { relayRtt }),
    });
    this.#monitor = new PathMonitor({ codec, random });
    this.#mtu = new MtuSearch({
      codec,
      random,
      ...(mtuLimit !== undefined && { limit: mtuLimit }),
    });
  }

  /** The proven ways, for status and tests. */
  get proven(): readonly PathOption[] {
    return [...this.#proven.values()];
  }

  handle(input: TunnelPathsInput, now: Millis): void {
    switch (input.type) {
      case "local":
        this.#links = input.local.links ?? [];
        this.#puncher.handle(input, now);
        this.#leaveLostFamily(input.local, now);
        break;
      case "remote":
      case "guess-sockets":
      case "stop":
        this.#puncher.handle(input, now);
        if (input.type === "stop") this.#follow(undefined, now);
        break;
      case "network-changed":
        for (const option of this.#proven.values()) option.stale = true;
        this.#puncher.handle({ type: "network-changed" }, now);
        this.#monitor.handle({ type: "network-changed" }, now);
        // The other end's NAT knows us by the old one: to find that out by silence takes longer than to prove the way anew.
        if (input.elsewhere && this.#current) {
          this.#dead(this.#current, "this machine is elsewhere now", now);
        }
        break;
      case "rebound": {
        const remote = this.#current?.remote;
        // To a neighbour there is no NAT on the way.
        if (remote?.family !== input.family || isLocalRange(remote)) break;
        this.#monitor.handle({ type: "rebound" }, now);
        break;
      }
      case "datagram":
        this.#open(input, now);
        break;
      case "traffic":
        this.#traffic(input, now);
        break;
      case "migrated":
        this.#follow(input.path, now);
        break;
      case "migration-failed":
        this.#fail(input.path, now);
        if (!this.#wanted && this.#codec.role === "agent") {
          this.#out.push({ type: "use", path: undefined, reason: "the direct way failed" });
        }
        break;
      case "time":
        this.#puncher.handle(input, now);
        this.#monitor.handle(input, now);
        this.#mtu.handle(input, now);
        break;
    }
    this.#rest(now);
    this.#drain(now);
    this.#choose(now);
  }

  poll(): TunnelPathsOutput | undefined {
    return this.#out.shift();
  }

  deadline(): Millis | undefined {
    const due = [this.#puncher, this.#monitor, this.#mtu].map((part) =>
      part.deadline() ?? Infinity
    );
    if (this.#busy) due.push(this.#busyUntil);
    for (const { heldUntil } of this.#proven.values()) {
      if (heldUntil !== undefined) due.push(heldUntil);
    }
    const earliest = Math.min(...due);
    return earliest === Infinity ? undefined : earliest;
  }

  #open(input: Extract<TunnelPathsInput, { type: "datagram" }>, now: Millis): void {
    const { socket, from, datagram } = input;
    const opened = this.#codec.open(datagram);
    if (opened.type === "refused") {
      this.#out.push({ type: "dropped", reason: opened.reason });
    } else if (opened.type === "probe") {
      this.#puncher.handle({ type: "probe", probe: opened, socket, from }, now);
    } else {
      // Each part knows its own questions by their transaction ids and leaves the others' alone.
      const reply = { type: "reply", reply: opened, socket, from } as const;
      this.#puncher.handle(reply, now);
      this.#monitor.handle(reply, now);
      this.#mtu.handle(reply, now);
    }
  }

  #traffic(input: Extract<TunnelPathsInput, { type: "traffic" }>, now: Millis): void {
    this.#busyUntil = now + BUSY_MS;
    if (!this.#busy) {
      this.#busy = true;
      this.#puncher.handle({ type: "busy", busy: true }, now);
    }
    if (!isSamePath(input.path, this.#current)) return;
    this.#monitor.handle(input, now);
    this.#mtu.handle({ type: "traffic" }, now);
  }

  #rest(now: Millis): void {
    if (!this.#busy || this.#busyUntil > now) return;
    this.#busy = false;
    this.#puncher.handle({ type: "busy", busy: false }, now);
  }

  /** The tunnel runs there now. */
  #follow(path: DirectPath | undefined, now: Millis): void {
    if (path === undefined ? this.#current === undefined : isSamePath(path, this.#current)) return;
    this.#current = path;
    if (this.#codec.role === "connector") this.#wanted = path;
    this.#puncher.handle({ type: "in-use", path }, now);
    if (path) return this.#watch(path, now);
    this.#out.push({ type: "refresh" });
    this.#monitor.handle({ type: "release" }, now);
    this.#mtu.handle({ type: "release" }, now);
  }

  #watch(path: DirectPath, now: Millis): void {
    const known = this.#proven.get(pathKey(path));
    const rtt = known?.rtt ?? UNKNOWN_RTT_MS;
    const proven = known?.mtu ?? BASE_MTU;
    this.#out.push({ type: "mtu", path, mtu: proven });
    this.#monitor.handle({ type: "use", path, rtt }, now);
    this.#mtu.handle({ type: "use", path, rtt, proven }, now);
  }

  /** A path died under the tunnel, or would not carry it. */
  #fail(path: DirectPath, now: Millis): void {
    const key = pathKey(path);
    this.#proven.delete(key);
    const before = this.#troubles.get(key);
    const count = before && now - before.at < FLAP_MS ? before.count + 1 : 1;
    const hold = count === 1 ? 0 : Math.min(HOLD_FIRST_MS * 2 ** (count - 2), HOLD_MAX_MS);
    this.#troubles.delete(key);
    this.#troubles.set(key, { count, at: now, until: now + hold });
    if (this.#troubles.size > MAX_TROUBLES) {
      this.#troubles.delete(this.#troubles.keys().next().value!);
    }
    if (isSamePath(path, this.#wanted)) this.#wanted = this.#current;
    this.#puncher.handle({ type: "lost", path }, now);
  }

  #drain(now: Millis): void {
    for (let out; (out = this.#monitor.poll());) {
      if (out.type === "send" || out.type === "doubt") {
        this.#out.push(out);
        // So that it is known which of the others live when the verdict comes.
        if (out.type === "doubt") this.#puncher.handle({ type: "recheck" }, now);
      } else if (out.type === "alive") {
        const { path, rtt } = out;
        const known = this.#proven.get(pathKey(path));
        // Under traffic the answer waits in queues that the tunnel itself fills, which another path would have too.
        const believed = known && this.#busy ? Math.min(known.rtt, rtt) : rtt;
        if (known) this.#proven.set(pathKey(path), { ...known, rtt: believed });
        this.#out.push({ type: "rtt", path, rtt });
      } else {
        this.#doubtOlder(out.since, now);
        const silence = `no answer for ${Math.round(out.quiet)} ms`;
        this.#dead(out.path, out.rebound ? "our NAT gave us another address" : silence, now);
      }
    }
    for (let out; (out = this.#mtu.poll());) {
      if (out.type === "unfit") {
        this.#dead(out.path, `packets of ${BASE_MTU} bytes do not pass`, now);
        continue;
      }
      if (out.type === "mtu") {
        const known = this.#proven.get(pathKey(out.path));
        if (known) known.mtu = out.mtu;
      }
      this.#out.push(out);
    }
    for (let out; (out = this.#puncher.poll());) {
      if (out.type === "validated") this.#prove(out, now);
      else if (out.type === "invalidated") this.#proven.delete(pathKey(out.path));
      else if (out.type === "confirmed") this.#confirm(out.path, now);
      else this.#out.push(out);
    }
  }

  #prove(out: Extract<PuncherOutput, { type: "validated" }>, now: Millis): void {
    const { path, kind, rtt, mtu } = out;
    const key = pathKey(path);
    const until = this.#troubles.get(key)?.until ?? -Infinity;
    const held = until > now ? { heldUntil: until } : {};
    const onLink = this.#links.includes(linkOf(path.remote) ?? "");
    this.#proven.set(key, { path, kind, rtt, mtu, onLink, at: now, stale: false, ...held });
    // It was given up, is still what the tunnel runs on, and works again.
    if (isSamePath(path, this.#current) && this.#monitor.state.name === "dead") {
      this.#watch(path, now);
    }
  }

  #confirm(path: DirectPath, now: Millis): void {
    const known = this.#proven.get(pathKey(path));
    if (known) Object.assign(known, { at: now, stale: false });
  }

  /** What broke one way may have broken those that have not been heard since. */
  #doubtOlder(since: Millis, now: Millis): void {
    for (const option of this.#proven.values()) if (option.at < since) option.stale = true;
    this.#puncher.handle({ type: "recheck" }, now);
  }

  /** This machine has left every network in which it could use the way in use. */
  #leaveLostFamily({ families }: LocalFacts, now: Millis): void {
    for (const option of this.#proven.values()) {
      if (!families.includes(option.path.remote.family)) option.stale = true;
    }
    const current = this.#current;
    if (!current || families.includes(current.remote.family)) return;
    this.#dead(current, `no IPv${current.remote.family} here any more`, now);
  }

  #dead(path: DirectPath, reason: string, now: Millis): void {
    this.#fail(path, now);
    if (this.#codec.role !== "agent" || !isSamePath(path, this.#current)) return;
    this.#follow(undefined, now);
    const next = choosePath(this.#usable(), { current: undefined, now });
    this.#wanted = next.use === "direct" ? next.option.path : undefined;
    this.#out.push({ type: "use", path: this.#wanted, reason, urgent: true });
  }

  *#usable(): Iterable<PathOption> {
    for (const option of this.#proven.values()) {
      if (!option.stale || isSamePath(option.path, this.#wanted)) yield option;
    }
  }

  #choose(now: Millis): void {
    for (const [key, option] of this.#proven) {
      if (option.heldUntil === undefined || option.heldUntil > now) continue;
      const { heldUntil: _, ...free } = option;
      this.#proven.set(key, free);
    }
    if (this.#codec.role !== "agent") return;
    const choice = choosePath(this.#usable(), { current: this.#wanted, now });
    // The way in use is left when the monitor says so, not because its proof was lost on the way.
    if (choice.use === "relayed" || isSamePath(choice.option.path, this.#wanted)) return;
    this.#wanted = choice.option.path;
    this.#out.push({ type: "use", path: this.#wanted, reason: choice.reason });
  }
}
