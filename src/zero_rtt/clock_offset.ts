/**
 * The client's idea of a receiver's clock, learned at its first visit and kept beside the ticket.
 *
 * Early messages say when they were issued *on the receiver's clock*, so that a laptop whose clock is an hour wrong
 * still gets early data. The estimate is the earliest time that the receiver's clock can show: never ahead (the
 * receiver takes next to nothing from the future, see `replay_guard.ts`), and behind by one round trip at most.
 * @module
 */
import type { UnixMillis } from "../core/mod.ts";

/** Learned from one welcome. Plain data, stored with the ticket. */
export interface ClockOffset {
  /** Milliseconds to add to this machine's wall clock to get the receiver's clock, at the least. */
  readonly offsetMs: number;
  /** How much more it may be: the time from asking to the answer, in milliseconds. */
  readonly uncertaintyMs: number;
  /** When it was learned, on this machine's wall clock. */
  readonly learnedAt: UnixMillis;
}

/** One exchange with a receiver. */
export interface ClockSample {
  /** What the receiver's clock showed when it answered (`now` of its welcome). */
  readonly receiverNow: UnixMillis;
  /** This machine's wall clock when the answer arrived. */
  readonly receivedAt: UnixMillis;
  /** From sending the question to receiving the answer, in milliseconds, on the monotonic clock. */
  readonly roundTripMs: number;
}

/**
 * How fast a wall clock that nobody sets right goes wrong: 50 millionths is what a quartz crystal in a common
 * computer is specified for. Faster than that costs early data, nothing worse.
 */
const DRIFT = 50e-6;

/**
 * The drift allowance stops here: half of what the receiver takes as "late" by default. Beyond it (27 hours after the
 * last visit at {@linkcode DRIFT}) we hope that the clock is better than specified, as clocks set by NTP are.
 */
const MAX_DRIFT_MS = 5_000;

/** The offset that one exchange shows; `undefined` where the numbers cannot be times. The newest sample is the best. */
export function learnOffset(sample: ClockSample): ClockOffset | undefined {
  const { receiverNow, receivedAt, roundTripMs } = sample;
  if (!isTime(receiverNow) || !isTime(receivedAt)) return undefined;
  if (!Number.isFinite(roundTripMs) || roundTripMs < 0) return undefined;
  return {
    offsetMs: Math.round(receiverNow - receivedAt),
    uncertaintyMs: Math.ceil(roundTripMs),
    learnedAt: Math.round(receivedAt),
  };
}

/** The issue time to write into an early message: the receiver's clock at this machine's wall-clock time `unix`. */
export function issueTime(offset: ClockOffset, unix: UnixMillis): UnixMillis {
  const age = Math.abs(unix - offset.learnedAt);
  return Math.max(0, Math.floor(unix + offset.offsetMs - Math.min(age * DRIFT, MAX_DRIFT_MS)));
}

function isTime(value: number): boolean {
  return value >= 0 && value <= Number.MAX_SAFE_INTEGER;
}
