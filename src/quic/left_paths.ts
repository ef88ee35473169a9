/**
 * Paths that a connection has left with packets in flight, and how they are given up.
 *
 * The engine keeps loss recovery per path, and looks for lost packets on a path only when one of *that path's* packets is
 * newly acknowledged. On a path that died nothing ever is: its timer would send the two oldest packets again and again,
 * later and later, and a stream waits for the rest for ever. So each left path gets one more packet (a PATH_CHALLENGE) that is
 * booked on it but travels along the path in use: the peer acknowledges it by its number, whatever way it came, and
 * everything that was sent before it on the left path is lost or acknowledged a round trip later.
 *
 * ```
 * left --a round trip later--> challenge by way of the path in use --sign of life, three times--> forgotten
 * ```
 * @module
 */
import { type Address, addressOf } from "../core/mod.ts";
import { MAX_PACKET } from "./config.ts";
import type { Egress } from "./connection_types.ts";
import type { NativeConnection } from "./engine.ts";

/**
 * From leaving a path to the first challenge: a round trip of the old path, within these limits, in milliseconds. Sooner it
 * would overtake packets that are only slow, which would be sent twice.
 */
const FIRST_MIN = 30;
const FIRST_MAX = 150;

/** Challenges are repeated after twice as long, and at least this often, in milliseconds. */
const INTERVAL_MAX = 1_000;

/** Challenges on a path in use that showed signs of life, after which the left path is as good as settled: all lost at 5 % loss is one in 8,000. */
const ENOUGH = 3;

/** Left paths that are remembered; the engine has room for as many. The oldest is forgotten. */
const MAX_LEFT = 8;

/** Two ends of a path, ours first. */
export interface PathOfConnection {
  readonly local: Address;
  readonly peer: Address;
}

/** What this needs of its connection. */
export interface LeftPathsOptions {
  readonly native: NativeConnection;
  readonly egress: Egress;
  /** The path in use. */
  readonly inUse: () => PathOfConnection;
  /** Packets that came on the path in use. */
  readonly packetsIn: () => number;
}

interface Left extends PathOfConnection {
  interval: number;
  enough: number;
  packetsIn: number;
  timer: ReturnType<typeof setTimeout>;
}

/** See the module's head. */
export class LeftPaths {
  readonly #options: LeftPathsOptions;
  readonly #left = new Map<string, Left>();

  constructor(options: LeftPathsOptions) {
    this.#options = options;
  }

  /** The connection left `from` for `to`. `rtt`: the round trip of the path left, in milliseconds, as far as known. */
  moved(from: PathOfConnection, to: PathOfConnection, rtt = FIRST_MAX): void {
    this.#forget(keyOf(to));
    const key = keyOf(from);
    if (key === keyOf(to)) return;
    this.#forget(key);
    for (const oldest of this.#left.keys()) {
      if (this.#left.size < MAX_LEFT) break;
      this.#forget(oldest);
    }
    const interval = Math.min(FIRST_MAX, Math.max(FIRST_MIN, rtt));
    const left: Left = {
      ...from,
      interval,
      enough: ENOUGH,
      packetsIn: this.#options.packetsIn(),
      timer: setTimeout(() => this.#settle(key, left), interval),
    };
    this.#left.set(key, left);
  }

  /** The connection is over. */
  stop(): void {
    for (const key of [...this.#left.keys()]) this.#forget(key);
  }

  #forget(key: string): void {
    clearTimeout(this.#left.get(key)?.timer);
    this.#left.delete(key);
  }

  #settle(key: string, left: Left): void {
    const packetsIn = this.#options.packetsIn();
    // What is sent into silence may be lost like all before it: it does not count.
    if (packetsIn !== left.packetsIn) left.enough--;
    left.packetsIn = packetsIn;
    if (left.enough < 0 || !this.#challenge(left)) return this.#forget(key);
    left.interval = Math.min(INTERVAL_MAX, left.interval * 2);
    left.timer = setTimeout(() => this.#settle(key, left), left.interval);
  }

  /** Answers whether the engine still knows that path. */
  #challenge({ local, peer }: PathOfConnection): boolean {
    const { native, egress, inUse } = this.#options;
    const way = inUse();
    const prefix = egress.prefix(way.peer);
    const buffer = new Uint8Array(
      prefix.length + Math.min(MAX_PACKET, egress.packetSize(way.peer)),
    );
    let length: number;
    try {
      native.probePath(local, peer);
      const made = native.sendOnPath(buffer.subarray(prefix.length), local, peer);
      if (made === null) return true;
      const [size, { from, to }] = made;
      length = size;
      if (addressOf(to.host, to.port).key !== peer.key || from.port !== local.port) return true;
    } catch {
      return false;
    }
    buffer.set(prefix);
    const datagram = buffer.subarray(0, prefix.length + length);
    egress.transmit(way.local, way.peer, datagram, datagram.length);
    return true;
  }
}

function keyOf({ local, peer }: PathOfConnection): string {
  return `${local.key} ${peer.key}`;
}
