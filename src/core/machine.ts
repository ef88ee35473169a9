/**
 * The shape of every state machine below the sans-IO line: three verbs and nothing else.
 * @module
 */
import type { Millis } from "./clock.ts";

/** A pure state machine: no clock, no randomness, no I/O of its own. */
export interface Machine<In, Out> {
  /** The one way to change it. */
  handle(input: In, now: Millis): void;
  /** What to do now (send, event …); call until it answers `undefined`. */
  poll(): Out | undefined;
  /** When to call {@linkcode handle} again if nothing happens before; `undefined`: never. */
  deadline(): Millis | undefined;
}

/** Random numbers as an argument: uniform in [0, 1). Seeded in simulations. */
export type Random = () => number;
