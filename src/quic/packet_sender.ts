/**
 * The packets that a connection wants sent, on their way out: in trains, and held back where the socket is full.
 * @module
 */
import { type Address, addressOf, type Bytes } from "../core/mod.ts";
import { MIN_PACKET } from "./config.ts";
import type { LeftPaths } from "./left_paths.ts";
import type { Closing } from "./closing.ts";
import type { Egress } from "./connection_types.ts";
import type { NativeConnection } from "./engine.ts";
import { Pacer } from "./pacer.ts";
import { TailProbe } from "./tail_probe.ts";
import type { TrainBuilder } from "./train_builder.ts";

/** What a sender needs of its connection. */
export interface PacketSenderOptions {
  readonly native: NativeConnection;
  readonly egress: Egress;
  readonly local: Address;
  readonly peer: Address;
  /** Paths whose packets travel along the path in use. */
  readonly left: LeftPaths;
  /** Call {@linkcode PacketSender.flush} again. */
  readonly wake: () => void;
  /** The pacer has room again: whoever waits to write may go on, and what is there may leave. */
  readonly paced: () => void;
  /** Streams that live now. */
  readonly streamIds: () => Iterable<number>;
}

/** Milliseconds until a connection that the pacer has stopped looks again: what a timer can do. */
const PACE_INTERVAL = 1;

/**
 * The engine's timer is at most some seconds away while it waits for an acknowledgement; beyond this, in milliseconds, it only waits for
 * the connection's idle timeout, of a minute at least.
 */
const NOTHING_FLIES = 30_000;

/** What a dead path has lost is known a round trip of the other path later: in milliseconds, where that is unknown, and at most. */
const LOSSES_WITHIN = 100;
const LOSSES_AT_MOST = 150;
const MIN_DEAD_WAIT = 15;
/** Packets that leave meanwhile, besides a chat's: an answer, a challenge. */
const PACKETS_MEANWHILE = 4;

/** The sending half of a connection. */
export class PacketSender {
  /** Our end of the path in use. */
  local: Address;
  /** The other end of the path in use. */
  peer: Address;
  /** The end that is under way. */
  closing: Closing | undefined;
  readonly #options: PacketSenderOptions;
  readonly #native: NativeConnection;
  readonly #egress: Egress;
  readonly #pacer = new Pacer();
  readonly #tail: TailProbe;
  /** The path that the pacer knows. */
  #pacedPeer: Address | undefined;
  #paceTimer: ReturnType<typeof setTimeout> | undefined;
  /** Since when something has been under way that the other end must acknowledge; `undefined`: nothing is. */
  #flyingSince: number | undefined;
  /** Bytes that streams have given and that no packet has taken; what was sent again makes it look a little smaller. */
  #ahead = 0;
  /** A path has just died, with so many packets known as lost. */
  #dead: { readonly lost: number; readonly until: number; left: number } | undefined;
  /** What leaves next answers a timer. */
  #small = false;
  /** A train that the socket did not take whole. */
  #unsent: { local: Address; peer: Address; data: Bytes; segmentSize: number } | undefined;

  constructor(options: PacketSenderOptions) {
    this.#options = options;
    this.#native = options.native;
    this.#egress = options.egress;
    this.local = options.local;
    this.peer = options.peer;
    this.#tail = new TailProbe({
      rtt: () => this.#pacer.shortestRtt,
      believedRtt: () => this.#native.pathStats().find(({ active }) => active)?.rtt,
      isFlying: () => this.#isFlying(),
      probe: () => {
        this.#native.sendAckEliciting();
        options.wake();
      },
    });
  }

  /** A stream has given so many bytes. */
  wrote(bytes: number): void {
    this.#ahead += bytes;
  }

  /**
   * Bytes that bulk streams may give now. Not all that the congestion window would take: when that shrinks, on a loss, the engine
   * takes nothing from anybody until what it was given has left, and a word of a chat waits for two round trips.
   */
  bulkRoom(): number {
    return this.#pacer.worthHaving(performance.now()) - this.#ahead;
  }

  /** Calls {@linkcode PacketSenderOptions.paced} in a moment. */
  awaitRoom(): void {
    this.#paceTimer ??= setTimeout(() => {
      this.#paceTimer = undefined;
      this.#options.paced();
    }, PACE_INTERVAL);
  }

  /** Little was written, or a stream's end: its loss must not wait for a timeout. */
  wroteLittle(): void {
    this.#tail.wrote();
    this.urgent();
  }

  /** There is something that must not wait: a chat's word, a DATAGRAM. */
  urgent(): void {
    if (this.#dead) this.#dead.left++;
  }

  /**
   * A timer of the engine's has fired: what it sends again now it sends whatever the congestion window. Small packets of it fit any other
   * path, too, should this one be dead (see `tunnel/detour.ts`).
   */
  timerFired(): void {
    this.#small = true;
  }

  /**
   * The path in use before is dead. What it has lost will be known in a moment, and goes first then: until then new bytes must not take
   * the congestion window of the path in use now, which is small, and free again a round trip later.
   */
  awaitLosses(): void {
    const rtt = this.#native.pathStats().find(({ active }) => active)?.rtt;
    const wait = rtt ? Math.min(LOSSES_AT_MOST, 1.5 * rtt + MIN_DEAD_WAIT) : LOSSES_WITHIN;
    const until = performance.now() + wait;
    this.#dead = { lost: this.#native.stats().lost, until, left: PACKETS_MEANWHILE };
  }

  /** As `QuicConnection.flush`. */
  flush(builder: TrainBuilder, budget: number): number {
    if (!this.#flushUnsent()) return 0;
    let made = 0;
    const { peer } = this;
    const prefix = this.#egress.prefix(peer);
    const proven = this.#egress.packetSize(peer);
    const size = this.#small ? Math.min(MIN_PACKET, proven) : proven;
    this.#small = false;
    const allowed = this.#pace(size, budget);
    builder.begin();
    while (made < allowed) {
      const room = builder.room(prefix.length, size);
      const result = this.#next(room);
      if (result === null) {
        if (this.closing?.silent(this.#options.streamIds())) continue;
        break;
      }
      const [length, info] = result;
      made++;
      if (this.#dead) this.#dead.left--;
      this.#pacer.spend(length);
      this.#tail.sent(length);
      this.#ahead = Math.max(0, this.#ahead - length);
      this.closing?.sent(this.#options.streamIds());
      if (info.to.host !== peer.host || info.to.port !== peer.port) {
        // Another path than the one before (a probe, or a migration): the packet travels alone.
        const packet = room.slice(0, length);
        const taken = this.#sendTrain(builder);
        this.#sendSingle(
          addressOf(info.from.host, info.from.port),
          addressOf(info.to.host, info.to.port),
          packet,
        );
        if (!taken) break;
        continue;
      }
      if (info.from.host !== this.local.host || info.from.port !== this.local.port) {
        this.local = addressOf(info.from.host, info.from.port);
      }
      if (builder.add(prefix, length)) continue;
      // The train is whole (its last packet is shorter, or it is as long as a train may be), or this packet is too long for it.
      if (!this.#sendTrain(builder)) break;
    }
    this.#sendTrain(builder);
    // Stopped by the pacer: look again soon.
    if (made >= allowed && allowed < budget) {
      if (!this.#dead) this.#pacer.held(performance.now());
      this.awaitRoom();
    } else if (made < allowed) this.#pacer.free();
    if (made > 0 && this.#flyingSince === undefined && this.#isFlying()) {
      this.#flyingSince = performance.now();
    }
    return made;
  }

  /** Packets came: maybe all that was under way is acknowledged. */
  heard(now: number): void {
    if (this.#flyingSince === undefined || this.#isFlying()) return;
    this.#pacer.answered(now - this.#flyingSince, now);
    this.#flyingSince = undefined;
  }

  #isFlying(): boolean {
    const timeout = this.#native.timeout();
    return timeout !== null && timeout < NOTHING_FLIES;
  }

  /**
   * The engine's next packet.
   *
   * A path that waits for its challenge comes first with the engine, whatever else there is to send. Where that cannot leave, nothing
   * does: what is still to be said of the handshake cannot travel on a client's new path, which has no source id for a long header,
   * and on a path that was left with its congestion window full the challenge has no room until a timer fires. Then the path in use
   * is named.
   */
  #next(room: Bytes): ReturnType<NativeConnection["send"]> {
    try {
      const packet = this.#native.send(room);
      if (packet !== null || this.#options.left.none) return packet;
    } catch {
      // As above: the engine refuses to send anything at all.
    }
    try {
      return this.#native.sendOnPath(room, this.local, this.peer);
    } catch {
      return null;
    }
  }

  /** No more packets, and no more looking for some. */
  drop(): void {
    clearTimeout(this.#paceTimer);
    this.#tail.stop();
    this.#unsent = undefined;
  }

  /** How many of `budget` packets may leave now. */
  #pace(size: number, budget: number): number {
    const now = performance.now();
    const pacer = this.#pacer;
    if (this.#pacedPeer !== this.peer) {
      this.#pacedPeer = this.peer;
      pacer.reset();
      // What is under way left on another path: nothing to be measured before it is acknowledged.
      if (this.#flyingSince !== undefined) this.#flyingSince = -Infinity;
    }
    if (pacer.wantsLook(now)) {
      pacer.look(this.#native.pathStats().find(({ active }) => active), now);
    }
    const allowed = Math.min(pacer.allowance(size, now), budget);
    const dead = this.#dead;
    if (!dead) return allowed;
    if (now >= dead.until || this.#native.stats().lost > dead.lost) {
      this.#dead = undefined;
      return allowed;
    }
    return Math.min(allowed, dead.left);
  }

  /** What the socket did not take before goes first. False: it still does not. */
  #flushUnsent(): boolean {
    if (!this.#unsent) return true;
    const { local, peer, data, segmentSize } = this.#unsent;
    const taken = this.#egress.transmit(local, peer, data, segmentSize);
    if (taken < data.length) {
      this.#holdBack(local, peer, data.subarray(taken), segmentSize);
      return false;
    }
    this.#unsent = undefined;
    return true;
  }

  #sendTrain(builder: TrainBuilder): boolean {
    for (let train = builder.take(); train; train = builder.take()) {
      const { data, segmentSize } = train;
      const taken = this.#egress.transmit(this.local, this.peer, data, segmentSize);
      if (taken < data.length) {
        this.#holdBack(this.local, this.peer, data.subarray(taken), segmentSize);
        // At most one more datagram is in the builder; it is lost, and the engine sends it again.
        builder.begin();
        return false;
      }
    }
    return true;
  }

  #sendSingle(madeFor: Address, madeTo: Address, packet: Uint8Array): void {
    const inUse = this.#options.left.has(madeFor, madeTo, performance.now());
    const local = inUse ? this.local : madeFor;
    const peer = inUse ? this.peer : madeTo;
    const prefix = this.#egress.prefix(peer);
    const datagram = new Uint8Array(prefix.length + packet.length);
    datagram.set(prefix);
    datagram.set(packet, prefix.length);
    // A probe that the socket cannot take now is as good as lost: the engine sends another.
    this.#egress.transmit(local, peer, datagram, datagram.length);
  }

  #holdBack(local: Address, peer: Address, data: Uint8Array, segmentSize: number): void {
    this.#unsent = { local, peer, data: new Uint8Array(data), segmentSize };
    this.#egress.writable().then(() => this.#options.wake());
  }
}
