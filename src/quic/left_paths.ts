/**
 * Paths that a connection has left with packets in flight, and how they are given up.
 *
 * The engine keeps loss recovery per path, and looks for lost packets on a path only when one of *that path's* packets is
 * newly acknowledged. On a path that died nothing ever is: its timer would send the two oldest packets again and again,
 * later and later, and a stream waits for the rest for ever. So the last packet of each left path (a *parting*) goes once more
 * along the path in use: the peer acknowledges it by its number, whatever way it came, and everything that was sent before it
 * on the left path is lost or acknowledged a round trip later. What the engine still sends there goes along the path in use, too.
 *
 * ```
 * left --a round trip later, and a sign of life--> parting by way of the path in use --a few times--> forgotten
 *      --it was dead: at once--> the first time
 * ```
 *
 * Where the congestion window is full there is none. Then a PATH_CHALLENGE serves, which may be sent all the same. But a server does
 * so only on a path that is known to be dead, or was left a while ago: there the engine gives a path up for good when any loss
 * timer of that path fires while a challenge is unanswered, however well the path is; and when the connection has gone back to
 * it meanwhile, that is its end. (At a client it takes three such times.)
 * @module
 */
import type { Address, Millis } from "../core/mod.ts";
import type { NativeConnection } from "./engine.ts";

/**
 * From leaving a path to the first time: a round trip of the old path, within these limits. Sooner it would overtake
 * packets that are only slow, which would be sent twice.
 */
const FIRST_MIN_MS: Millis = 30;
const FIRST_MAX_MS: Millis = 150;

/** Times that a parting is sent: all lost at 5 % loss is one in 8,000. */
const TIMES = 3;

/** Challenges where there is no parting. */
const CHALLENGES = 2;
/** A path left this long ago is not gone back to so soon that the challenge is still unanswered. */
const LATE_MS: Millis = 600;

/** For so long what the engine sends on a left path goes along the one in use, where no parting could be had. */
const FORGET_MS: Millis = 10_000;

/** A parting is the last of its path for this long; a little that was sent behind it waits for the engine's timer. */
const FRESH_MS: Millis = 20;

/** Left paths that are remembered; the oldest is forgotten. */
const MAX_LEFT = 8;

/** Two ends of a path, ours first. */
export interface PathOfConnection {
  readonly local: Address;
  readonly peer: Address;
}

interface Left extends PathOfConnection {
  /** When the parting is due, and how long after it the next time. */
  at: Millis;
  interval: Millis;
  times: number;
  dead: boolean;
  readonly lateAt: Millis;
  readonly packet: Uint8Array | undefined;
  readonly until: Millis;
}

/** See the module's head. */
export class LeftPaths {
  readonly #native: NativeConnection;
  readonly #isClient: boolean;
  readonly #left = new Map<string, Left>();
  #parting: { readonly key: string; readonly at: Millis; readonly packet: Uint8Array } | undefined;
  #askedAt: Millis = -Infinity;

  constructor(native: NativeConnection, { isClient }: { isClient: boolean }) {
    this.#native = native;
    this.#isClient = isClient;
  }

  /** Nothing to do. */
  get none(): boolean {
    return this.#left.size === 0;
  }

  /** Do packets for that path have to travel along the one in use? */
  has(local: Address, peer: Address): boolean {
    return this.#left.has(keyOf({ local, peer }));
  }

  /** The path in use may be left any moment: is a parting wanted? Asked too often it is not. */
  wantsParting(now: Millis): boolean {
    if (now - this.#askedAt < FRESH_MS) return false;
    this.#askedAt = now;
    return true;
  }

  /** The newest packet of the path in use. */
  parting(path: PathOfConnection, packet: Uint8Array, now: Millis): void {
    this.#parting = { key: keyOf(path), at: now, packet };
  }

  /** The connection left `from` for `to`. `rtt`: the round trip of the path left, as far as known. */
  moved(from: PathOfConnection, to: PathOfConnection, { rtt = FIRST_MAX_MS, now = 0 }): void {
    const key = keyOf(from);
    const parting = this.#parting;
    this.#parting = undefined;
    this.#askedAt = -Infinity;
    this.#left.delete(keyOf(to));
    if (key === keyOf(to)) return;
    this.#left.delete(key);
    for (const oldest of this.#left.keys()) {
      if (this.#left.size < MAX_LEFT) break;
      this.#left.delete(oldest);
    }
    const interval = Math.min(FIRST_MAX_MS, Math.max(FIRST_MIN_MS, rtt));
    const fresh = parting?.key === key && now - parting.at <= FRESH_MS;
    this.#left.set(key, {
      ...from,
      dead: false,
      lateAt: now + LATE_MS,
      at: now + interval,
      interval,
      times: 0,
      packet: fresh ? parting.packet : undefined,
      until: now + FORGET_MS,
    });
  }

  /** Packets came on the path in use. Answers what is to be sent along it now, besides what the engine has. */
  heard(now: Millis): Uint8Array[] {
    const due: Uint8Array[] = [];
    for (const [key, left] of this.#left) {
      if (left.times >= TIMES || now >= left.until) this.#left.delete(key);
      else if (now >= left.at) due.push(...this.#next(left, now));
    }
    return due;
  }

  /** The path that was left last is dead: nothing on it is only slow. Answers as {@linkcode heard}. */
  died(now: Millis): Uint8Array[] {
    const left = [...this.#left.values()].at(-1);
    if (!left || left.times > 0) return [];
    left.dead = true;
    return this.#next(left, now);
  }

  #mayChallenge({ dead, lateAt }: Left, now: Millis): boolean {
    return this.#isClient || dead || now >= lateAt;
  }

  #next(left: Left, now: Millis): Uint8Array[] {
    const { packet, local, peer } = left;
    if (!packet && (left.times >= CHALLENGES || !this.#mayChallenge(left, now))) return [];
    left.times++;
    left.interval *= 2;
    left.at = now + left.interval;
    if (packet) return [packet];
    try {
      this.#native.probePath(local, peer);
    } catch {
      // The engine does not know it any more.
    }
    return [];
  }
}

function keyOf({ local, peer }: PathOfConnection): string {
  return `${local.key} ${peer.key}`;
}

/**
 * A packet of at most `size` bytes that the engine takes for sent on that path, which is the one in use, and that has to be
 * acknowledged. `undefined` where there is none just now, as when the congestion window is full.
 */
export function takePacket(
  native: NativeConnection,
  { local, peer }: PathOfConnection,
  size: number,
): Uint8Array | undefined {
  const buffer = new Uint8Array(size);
  try {
    native.sendAckEliciting();
    const result = native.sendOnPath(buffer, local, peer);
    return result === null ? undefined : buffer.subarray(0, result[0]);
  } catch {
    return undefined;
  }
}
