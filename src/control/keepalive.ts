/**
 * Is the relay still there? Pings on the control stream measure the round trip and notice a relay that hangs
 * while its kernel still answers. They do not keep NAT mappings open (QUIC does that, at the NAT's pace).
 * @module
 */
import type { Millis } from "../core/mod.ts";

/** Between pings on a connection that is thought to be good: a relay has 10,000 clients, so some 700 pings a second. */
export const PING_INTERVAL_MS = 15_000;

/**
 * After a network change one wants to know at once: three of these, and a reconnect, fit well into the 3 s that a roaming client
 * has. Where the relay is farther away than this, half again its round trip.
 */
export const CHECK_INTERVAL_MS = 350;
const CHECK_ROUND_TRIPS = 1.5;

/** Unanswered pings in a row until the relay counts as gone: one may be lost in a stall, two in a bad one. */
export const MAX_MISSED_PINGS = 3;

/** What to do when a ping is due. */
export type PingDue = { readonly ping: number } | { readonly dead: true } | undefined;

/** Counts pings of one connection. */
export class Keepalive {
  #id = 0;
  /** The newest ping, while it has no answer. */
  #sentAt: Millis | undefined;
  #missed = 0;
  /** The longest round trip yet. */
  #rtt: Millis = 0;
  #interval: Millis = PING_INTERVAL_MS;
  #due: Millis;

  constructor(now: Millis) {
    this.#due = now + this.#interval;
  }

  /** When {@linkcode tick} has something to do. */
  get due(): Millis {
    return this.#due;
  }

  /** Anything came from the relay: it lives. */
  heard(now: Millis): void {
    this.#missed = 0;
    if (this.#interval !== PING_INTERVAL_MS) {
      this.#interval = PING_INTERVAL_MS;
      this.#due = now + this.#interval;
    }
  }

  /** An answer. @returns the round trip in milliseconds, if it answers the newest ping */
  pong(id: number, now: Millis): Millis | undefined {
    if (id !== this.#id || this.#sentAt === undefined) return undefined;
    const rtt = now - this.#sentAt;
    this.#sentAt = undefined;
    this.#rtt = Math.max(this.#rtt, rtt);
    return rtt;
  }

  /** Something has happened to the network: ask now, and soon again. */
  check(now: Millis): { readonly ping: number } {
    this.#interval = Math.max(CHECK_INTERVAL_MS, CHECK_ROUND_TRIPS * this.#rtt);
    this.#missed = 0;
    return this.#ping(now);
  }

  /**
   * The next ping if it is due. One tick counts as one missed ping however late it comes: a machine that slept has
   * not listened.
   */
  tick(now: Millis): PingDue {
    if (now < this.#due) return undefined;
    if (this.#sentAt !== undefined && ++this.#missed >= MAX_MISSED_PINGS) return { dead: true };
    return this.#ping(now);
  }

  #ping(now: Millis): { readonly ping: number } {
    this.#id++;
    this.#sentAt = now;
    this.#due = now + this.#interval;
    return { ping: this.#id };
  }
}
