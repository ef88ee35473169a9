/**
 * When to try again after an attempt found nothing. A part of the puncher.
 * @module
 */
import type { Millis } from "../core/clock.ts";

/** Rounds while the tunnel carries traffic: this is how late a healed way is noticed. */
export const BUSY_ROUND_MS: Millis = 1000;
/** Rounds of an idle tunnel double up to this: below the 30 s for which NATs keep an unanswered mapping. */
const IDLE_ROUND_MS: Millis = 25_000;
/** Asking the peer to exchange offers again, and to start together: doubling between these. */
const EXCHANGE_FIRST_MS: Millis = 15_000;
const EXCHANGE_MAX_MS: Millis = 600_000;

/** From one round to the next; `share` in [0, 1] spreads tunnels that failed in the same moment. */
export function roundWait(
  round: number,
  { busy, share }: { busy: boolean; share: number },
): Millis {
  const idle = Math.min(BUSY_ROUND_MS * 2 ** Math.min(round + 1, 16), IDLE_ROUND_MS);
  return (busy ? BUSY_ROUND_MS : idle) * (0.9 + 0.1 * share);
}

/** When both ends should exchange offers again. */
export class ExchangePlan {
  #at: Millis = Infinity;
  #wait: Millis = EXCHANGE_FIRST_MS;

  /** An attempt failed. */
  failed(now: Millis): void {
    this.#at = now + this.#wait;
  }

  /** A way was proven. */
  succeeded(): void {
    this.#at = Infinity;
    this.#wait = EXCHANGE_FIRST_MS;
  }

  /** Is it time? Then the next time is twice as far off. */
  due(now: Millis): boolean {
    if (this.#at > now) return false;
    this.#wait = Math.min(2 * this.#wait, EXCHANGE_MAX_MS);
    this.#at = now + this.#wait;
    return true;
  }
}
