/**
 * The clock on which a receiver judges freshness: wall-clock time at the start of the process, plus monotonic time
 * since. Setting the wall clock back can therefore never make an old flight fresh again.
 *
 * What jumps do: a wall clock set back changes nothing until the next start. Where monotonic time stands still while the machine
 * sleeps, this clock is set forward by as much ({@linkcode ReceiverClock.stoodStill}), as nobody can tell that from a wall clock
 * that was set forward: clients that learned it before go by it as before, unless their own clocks know of no jump; these are
 * served after the handshake once, and learn it anew. What was issued before the jump is only older than before.
 * Whatever tells clients the time (`now` in the welcome) must read this clock, not the wall clock.
 * @module
 */
import type { Millis, UnixMillis } from "../core/mod.ts";
import { DEFAULT_MAX_FUTURE_MS } from "./limits.ts";
import type { Parsed } from "./parsed.ts";

/** Reads wall-clock time off the monotonic clock. */
export class ReceiverClock {
  /** What this clock showed at its start. */
  readonly startedAt: UnixMillis;
  #latest: Millis;
  #zero: Millis;

  /** A clock that shows `startedAt` at monotonic time `now`. */
  constructor(startedAt: UnixMillis, now: Millis) {
    this.startedAt = startedAt;
    this.#zero = now;
    this.#latest = now;
  }

  /** The time at monotonic time `now`, in whole milliseconds; never less than it ever answered. */
  at(now: Millis): UnixMillis {
    if (now > this.#latest) this.#latest = now;
    return Math.floor(this.startedAt + (this.#latest - this.#zero));
  }

  /** Monotonic time stood still for so long, or less than that: this clock goes forward, never back. */
  stoodStill(ms: Millis): void {
    if (ms > 0) this.#zero -= ms;
  }
}

/**
 * What a receiver whose ticket key outlives it leaves behind, so that the next process neither takes a flight again
 * nor refuses new ones for longer than it must. A hint, not a secret: without it the next start is only more careful.
 */
export interface ReceiverMark {
  /** What the receiver's clock showed. */
  readonly clock: UnixMillis;
  /** The latest issue time that was accepted ({@linkcode ReplayGuard.latestAccepted}), or 0. */
  readonly latest: UnixMillis;
  /** True in the mark written last of all, when nothing more will be accepted. */
  readonly clean: boolean;
}

/** How often a running receiver writes its mark, in milliseconds. */
export const MARK_EVERY_MS = 10_000;

/** How a receiver's clock and guard begin. */
export interface ReceiverStart {
  /** For {@linkcode ReceiverClock}. */
  readonly startedAt: UnixMillis;
  /** For the guard: whatever was issued up to then may have been accepted by an earlier process. */
  readonly refuseUpTo: UnixMillis;
}

/**
 * Where to begin, from the wall clock and the mark of the process before.
 *
 * - Stopped cleanly: the old process accepted nothing issued after `latest`, so all that is issued from now on is new.
 * - Killed, or no mark: it may have accepted what was issued up to `maxFutureMs` after its end.
 * - The wall clock now shows less than the old process saw: it was set back. Time goes on where it was, plus the
 *   interval between marks if the last one was not the last word.
 *
 * What stays open: killed within {@linkcode MARK_EVERY_MS} of a mark *and* a wall clock set back by less than that.
 *
 * The caller removes the mark once it is read, before anything is accepted.
 */
export function receiverStart(
  unix: UnixMillis,
  options: { mark?: ReceiverMark | undefined; maxFutureMs?: number } = {},
): ReceiverStart {
  const { mark, maxFutureMs = DEFAULT_MAX_FUTURE_MS } = options;
  if (mark?.clean) {
    const startedAt = Math.max(unix, mark.clock);
    return { startedAt, refuseUpTo: Math.max(startedAt - 1, mark.latest) };
  }
  const startedAt = mark && unix < mark.clock ? mark.clock + MARK_EVERY_MS : unix;
  return { startedAt, refuseUpTo: startedAt + maxFutureMs };
}

/** One line of text for the file. */
export function serializeMark(mark: ReceiverMark): string {
  return `${JSON.stringify({ v: 1, clock: mark.clock, latest: mark.latest, clean: mark.clean })}\n`;
}

/** Reads {@linkcode serializeMark} back; total. */
export function parseMark(text: string): Parsed<ReceiverMark> {
  const refused = { refused: "Cannot read the receiver mark as it is not one" };
  if (text.length > 256) return refused;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return refused;
  }
  if (typeof value !== "object" || value === null) return refused;
  const { v, clock, latest, clean } = value as Record<string, unknown>;
  const isTime = (time: unknown): time is number => Number.isSafeInteger(time) && Number(time) >= 0;
  if (v !== 1 || !isTime(clock) || !isTime(latest) || typeof clean !== "boolean") return refused;
  return { ok: { clock, latest, clean } };
}
