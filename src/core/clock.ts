/**
 * Time as the house uses it: machines get it as an argument, only a driver reads it.
 * @module
 */

/** Milliseconds on a monotonic clock whose zero means nothing (for intervals and deadlines). */
export type Millis = number;

/** Milliseconds since 1970-01-01T00:00Z on the wall clock (for certificates, invites, replay). */
export type UnixMillis = number;

/** Where time comes from. Roles use {@linkcode systemClock}; tests and simulations bring their own. */
export interface Clock {
  /** Monotonic time: never goes back, may stand still while the machine sleeps. */
  now(): Millis;
  /** Wall-clock time: may jump either way. */
  unix(): UnixMillis;
}
