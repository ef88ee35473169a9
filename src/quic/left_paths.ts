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
 * left --a round trip later, if there was a sign of life--> challenge by way of the path in use --a few times--> forgotten
 *      --it was dead: at once--> the first challenge
 * ```
 *
 * A path that was left before, a moment ago, waits longer: the connection may soon be back on it. The engine gives a path up for good
 * when a loss timer of it fires while a challenge is unanswered (at a server once, at a client three times), and nothing may come on it
 * again then (`failed_paths.ts` is for clients that do). Where nothing was lost, a left path's packets are acknowledged without a challenge.
 *
 * While such a path is asked whether it is back, at either end, what belongs on it goes there.
 *
 * Into silence nothing is sent: a path whose challenges are lost three times is a failed one for the engine, and it ends a
 * connection whose paths have all failed.
 * @module
 */
import type { Address, Millis } from "../core/mod.ts";
import type { NativeConnection } from "./engine.ts";

/**
 * From leaving a path to the first challenge: a round trip of the old path, within these limits. Sooner it would overtake
 * packets that are only slow, which would be sent twice.
 */
const FIRST_MIN_MS: Millis = 30;
const FIRST_MAX_MS: Millis = 150;

/** A path left twice within this time may be left, and gone back to, a third time as soon. */
const AGAIN_MS: Millis = 10_000;
/** Such a path waits so long for its first challenge; it is not gone back to that late while that is unanswered. */
const LATE_MS: Millis = 600;

/** Challenges after which a left path is as good as settled, if it counts as validated: all lost at 5 % loss is one in 8,000. */
const ENOUGH = 3;

/** Challenges after which it is forgotten anyway. */
const MOST = 12;

/** So long a path that is asked whether it is back is taken for one that may be: about a long round trip, and it is asked again. */
const ASKED_MS: Millis = 300;

/** Left paths that are remembered; the oldest is forgotten. */
const MAX_LEFT = 8;

/** Two ends of a path, ours first. */
export interface PathOfConnection {
  readonly local: Address;
  readonly peer: Address;
}

interface Left extends PathOfConnection {
  /** When the next challenge is due, and how long after it the one after. */
  at: Millis;
  interval: Millis;
  challenges: number;
  /** It is asked until then whether it is back. */
  askedUntil: Millis;
  /** Something came on the path in use since this one was left, or since the last challenge. */
  alive: boolean;
}

/** See the module's head. */
export class LeftPaths {
  readonly #native: NativeConnection;
  readonly #left = new Map<string, Left>();
  /** When paths were left last. */
  readonly #leftAt = new Map<string, Millis>();
  readonly #wake: () => void;
  #timer: { readonly at: Millis; readonly id: ReturnType<typeof setTimeout> } | undefined;

  /** `wake` is called when there is something to send. */
  constructor(native: NativeConnection, wake: () => void) {
    this.#native = native;
    this.#wake = wake;
  }

  /** The connection is over. */
  stop(): void {
    clearTimeout(this.#timer?.id);
    this.#left.clear();
  }

  /** Nothing to do. */
  get none(): boolean {
    return this.#left.size === 0;
  }

  /** Do packets for that path have to travel along the one in use? */
  has(local: Address, peer: Address, now: Millis): boolean {
    const left = this.#left.get(keyOfPath({ local, peer }));
    return left !== undefined && now >= left.askedUntil;
  }

  /** That path is asked, on itself, whether it is back. */
  asked(path: PathOfConnection, now: Millis): void {
    const left = this.#left.get(keyOfPath(path));
    if (left) left.askedUntil = now + ASKED_MS;
  }

  /** A packet came from there, though the connection has left the path there: the other end asks. */
  heardFrom(peer: Address, now: Millis): void {
    for (const left of this.#left.values()) {
      if (left.peer.key === peer.key) left.askedUntil = now + ASKED_MS;
    }
  }

  /** The connection left `from` for `to`. `rtt`: the round trip of the path left, as far as known. */
  moved(from: PathOfConnection, to: PathOfConnection, { rtt = FIRST_MAX_MS, now = 0 }): void {
    const key = keyOfPath(from);
    this.#left.delete(keyOfPath(to));
    if (key === keyOfPath(to)) return;
    this.#left.delete(key);
    for (const oldest of this.#left.keys()) {
      if (this.#left.size < MAX_LEFT) break;
      this.#left.delete(oldest);
    }
    const interval = Math.min(FIRST_MAX_MS, Math.max(FIRST_MIN_MS, rtt));
    const wait = this.#isAgain(key, now) ? LATE_MS : interval;
    this.#left.set(key, {
      ...from,
      at: now + wait,
      interval,
      challenges: 0,
      askedUntil: 0,
      alive: false,
    });
  }

  /** A path has another name from now on. */
  rename({ from, local, peer }: PathOfConnection & { readonly from: string }): void {
    const left = this.#left.get(from);
    if (!left) return;
    this.#left.delete(from);
    this.#left.set(keyOfPath({ local, peer }), { ...left, local, peer });
  }

  #isAgain(key: string, now: Millis): boolean {
    const before = this.#leftAt.get(key) ?? -Infinity;
    this.#leftAt.delete(key);
    this.#leftAt.set(key, now);
    for (const oldest of this.#leftAt.keys()) {
      if (this.#leftAt.size <= MAX_LEFT) break;
      this.#leftAt.delete(oldest);
    }
    return now - before < AGAIN_MS;
  }

  /** Packets came on the path in use. */
  heard(now: Millis): void {
    for (const left of this.#left.values()) left.alive = true;
    this.#look(now);
  }

  /** Asks what is due, and comes back when more is: both ends may be waiting for what only a challenge brings to light. */
  #look(now: Millis): void {
    let next = Infinity;
    for (const [key, left] of this.#left) {
      if (!left.alive) continue;
      if (now < left.at) next = Math.min(next, left.at);
      else if (this.#isSettled(left)) this.#left.delete(key);
      else if (this.#ask(key, left, now)) this.#wake();
    }
    if (this.#timer && this.#timer.at <= next) return;
    clearTimeout(this.#timer?.id);
    this.#timer = undefined;
    if (next === Infinity) return;
    const id = setTimeout(() => {
      this.#timer = undefined;
      this.#look(performance.now());
    }, next - now);
    this.#timer = { at: next, id };
  }

  /** The path that was left last is dead: nothing on it is only slow. Answers whether there is something to send now. */
  died(now: Millis): boolean {
    const [key, left] = [...this.#left].at(-1) ?? [];
    return key !== undefined && left!.challenges === 0 && this.#ask(key, left!, now);
  }

  #ask(key: string, left: Left, now: Millis): boolean {
    if (!this.#challenge(left)) {
      this.#left.delete(key);
      return false;
    }
    left.challenges++;
    left.alive = false;
    left.interval *= 2;
    left.at = now + left.interval;
    return true;
  }

  #isSettled({ local, peer, challenges }: Left): boolean {
    if (challenges < ENOUGH) return false;
    try {
      return challenges >= MOST || this.#native.isPathValidated(local, peer);
    } catch {
      return true;
    }
  }

  /** Answers whether the engine still knows that path. */
  #challenge({ local, peer }: PathOfConnection): boolean {
    try {
      this.#native.probePath(local, peer);
      return true;
    } catch {
      return false;
    }
  }
}

/** One text for a path. */
export function keyOfPath({ local, peer }: PathOfConnection): string {
  return `${local.key} ${peer.key}`;
}
