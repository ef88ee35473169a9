/**
 * Keeps datagrams that came a moment before the message that says where they belong.
 * @module
 */
import type { Address } from "./address.ts";
import type { Millis } from "./clock.ts";

/** Datagrams kept at most; the oldest give way, and their sender sends again. */
const MAX_WAITING = 128;
/** Longest that one is kept, in milliseconds: the message it waits for is on its way, or lost. */
const MAX_AGE: Millis = 1_000;

interface Waiting {
  readonly id: string;
  readonly data: Uint8Array;
  readonly from: Address;
  readonly until: Millis;
}

/** A small ring of datagrams by the id that they name. Its memory is bounded whatever arrives. */
export class WaitingRoom {
  #waiting: Waiting[] = [];

  /** Keeps a copy. */
  add(id: string, data: Uint8Array, from: Address, now: Millis): void {
    if (this.#waiting.length >= MAX_WAITING) this.#waiting.shift();
    this.#waiting.push({ id, data: data.slice(), from, until: now + MAX_AGE });
  }

  /** What waits for this id, in order; it is not kept any longer. */
  take(id: string, now: Millis): { data: Uint8Array; from: Address }[] {
    if (this.#waiting.length === 0) return [];
    const live = this.#waiting.filter(({ until }) => until > now);
    this.#waiting = live.filter((entry) => entry.id !== id);
    return live.filter((entry) => entry.id === id);
  }
}
