/**
 * Pacing: spreads what the congestion window allows over the round trip, so that a queue on the way sees a stream of packets
 * and not a wall (RFC 9002 §7.7). The engine does not: it only says when it would, in times that JavaScript cannot read.
 *
 * Through a queue of 64 KiB before 100 Mbit/s, at a round trip of 80 ms, this makes 72 Mbit/s out of 12.
 *
 * Pure: time and the engine's counters come in.
 * @module
 */
import type { Millis } from "../core/mod.ts";

/** What the pacer wants to know of the path in use. */
export interface PacedPath {
  /** Congestion window, in bytes. */
  readonly cwnd: number;
  /** Smoothed round-trip time, in milliseconds. May be far too long (see {@linkcode Pacer.look}). */
  readonly rtt: number;
  /** Packets lost so far. */
  readonly lost: number;
}

/** Milliseconds between looks at the engine's counters, which cost 7 µs. */
const LOOK_INTERVAL = 5;

/** Bytes that leave unpaced, and between looks: about the initial window (RFC 9002 §7.2). A chat is never paced. */
const MIN_BURST_BYTES = 14_720;

/** What may leave at once after a silence, in milliseconds of the rate: timers are no finer than one or two. */
const BURST_MS = 4;

/**
 * What the engine is given ahead of what may leave, in milliseconds of the rate and at least in bytes: enough to keep packets whole
 * until a timer fires. All that is ahead goes out before the next word of a chat.
 */
const AHEAD_MS = 3;
const MIN_AHEAD_BYTES = 2 * 1_472;

/** The pacer alone holds packets back for so many round trips at most, and so many milliseconds, before it takes them for shorter. */
const HELD_ROUND_TRIPS = 1.25;
const HELD_MAX: Millis = 250;

/** Round trips shorter than this are not paced: timers are too coarse, and there is hardly a queue to spare. */
const MIN_RTT = 2;

/**
 * How much faster than the window empties packets may leave (RFC 9002 §7.7 says 1.25). Slow start doubles its window in a
 * round trip, and must be let.
 */
const GAIN = { beforeLoss: 2, afterLoss: 1.25 } as const;

/** Says how much may leave now. */
export class Pacer {
  /** Bytes per millisecond. */
  #rate = Infinity;
  #shortestRtt = Infinity;
  #tokens = MIN_BURST_BYTES;
  #tokensAt: Millis = 0;
  #lookAt: Millis = -Infinity;
  #sinceLook = 0;
  /** Since when nothing but the pacer holds packets back. */
  #heldSince: Millis | undefined;

  /** The shortest round trip that was seen on this path, in milliseconds; `undefined`: none yet. */
  get shortestRtt(): Millis | undefined {
    return this.#shortestRtt === Infinity ? undefined : this.#shortestRtt;
  }

  /** Is it time to {@linkcode look}? Never on a connection that says little. */
  wantsLook(now: Millis): boolean {
    return now >= this.#lookAt &&
      (this.#sinceLook > MIN_BURST_BYTES || this.#rate !== Infinity && this.#tokens <= 0);
  }

  /** Another path is in use: nothing is known of it. */
  reset(): void {
    this.#rate = this.#shortestRtt = Infinity;
    this.#heldSince = undefined;
  }

  /**
   * A round trip as seen from outside of the engine: all that was under way has been acknowledged so long after it began to leave.
   * Never too short, and what ends a starvation: where we send a packet at a time because the engine thinks the round trip long,
   * there is one for each packet.
   */
  answered(rtt: Millis, now: Millis): void {
    if (rtt >= this.#shortestRtt) return;
    this.#refill(now);
    if (this.#rate !== Infinity) this.#rate *= this.#shortestRtt / rtt;
    this.#shortestRtt = rtt;
    if (rtt < MIN_RTT) this.#rate = Infinity;
  }

  /**
   * Takes the engine's counters in; `undefined`: there is no path to be paced.
   *
   * The round trip that counts is the shortest that was seen. The engine takes for a packet's departure the moment in which its
   * own pacer has it due: a round trip that began as too long (a lost handshake packet) stays so, as whatever is sent faster than that
   * departs in the future. A window that may leave at once anyway is not paced: then it is soon full, and grows.
   */
  look(path: PacedPath | undefined, now: Millis): void {
    this.#lookAt = now + LOOK_INTERVAL;
    this.#sinceLook = 0;
    this.#refill(now);
    if (path) this.#shortestRtt = Math.min(this.#shortestRtt, path.rtt);
    if (!path || this.#shortestRtt < MIN_RTT || path.cwnd < MIN_BURST_BYTES) this.#rate = Infinity;
    else {
      const gain = path.lost === 0 ? GAIN.beforeLoss : GAIN.afterLoss;
      this.#rate = gain * path.cwnd / this.#shortestRtt;
    }
  }

  /** Whole packets of `size` bytes that may leave now; maybe Infinity. Where it is 0, ask again in a millisecond. */
  allowance(size: number, now: Millis): number {
    if (this.#rate === Infinity) return Infinity;
    this.#refill(now);
    return Math.max(0, Math.floor(this.#tokens / size));
  }

  /** Bytes that are worth having ready: what may leave now and until the next timer or two. Maybe Infinity. */
  worthHaving(now: Millis): number {
    if (this.#rate === Infinity) return Infinity;
    this.#refill(now);
    return Math.max(0, this.#tokens) + Math.max(MIN_AHEAD_BYTES, this.#rate * AHEAD_MS);
  }

  /**
   * More could leave, and only the pacer holds it. With the right round trip that ends within one, when the window is full; where it
   * goes on, the round trip is shorter than we think, and the window is never full and never grows.
   */
  held(now: Millis): void {
    if (this.#rate === Infinity) return;
    this.#heldSince ??= now;
    if (now - this.#heldSince < Math.min(HELD_MAX, HELD_ROUND_TRIPS * this.#shortestRtt)) return;
    this.#heldSince = now;
    this.answered(this.#shortestRtt / 2, now);
  }

  /** What could leave has left: the window is full, or there is nothing to send. */
  free(): void {
    this.#heldSince = undefined;
  }

  /** So many bytes have left. */
  spend(bytes: number): void {
    this.#tokens -= bytes;
    this.#sinceLook += bytes;
  }

  #refill(now: Millis): void {
    const most = this.#rate === Infinity
      ? MIN_BURST_BYTES
      : Math.max(MIN_BURST_BYTES, this.#rate * BURST_MS);
    const gained = this.#rate === Infinity ? most : this.#rate * (now - this.#tokensAt);
    this.#tokens = Math.min(most, Math.max(this.#tokens, -most) + gained);
    this.#tokensAt = now;
  }
}
