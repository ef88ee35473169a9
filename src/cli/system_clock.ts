/**
 * The clocks of the system, which only the outermost rooms read.
 * @module
 */
import type { Clock } from "../core/clock.ts";

/** Monotonic and wall-clock time of this machine. */
export const systemClock: Clock = { now: () => performance.now(), unix: () => Date.now() };
