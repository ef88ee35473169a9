/**
 * When guessing ports is worth its packets. A part of the puncher.
 * @module
 */
import type { Millis } from "../core/clock.ts";
import type { GuessPlan, GuessSide } from "./port_guess.ts";

/** Simple probing gets this long (or one and a half relayed round trips) before ports are guessed: it needs one direct one. */
const GUESS_AFTER_MS: Millis = 120;
/** After a guess that found nothing, the next is worth its packets only when something may have changed. */
const GUESS_AGAIN_MS: Millis = 240_000;
/** Until the driver says how far the other end is. */
const DEFAULT_RELAY_RTT_MS: Millis = 100;

/** A plan that gives us something to do. */
export type UsefulPlan = GuessPlan & { readonly side: GuessSide };

/** Decides when to guess. */
export class GuessPolicy {
  /** Is guessing switched on? */
  readonly allowed: boolean;
  #after: Millis;
  #notBefore: Millis = -Infinity;

  constructor(options: { guessing?: boolean; relayRtt?: Millis }) {
    this.allowed = options.guessing !== false;
    this.#after = Math.max(GUESS_AFTER_MS, 1.5 * (options.relayRtt ?? DEFAULT_RELAY_RTT_MS));
  }

  /** When to carry out this plan in an attempt that began at `since`; `undefined`: not in this attempt. */
  dueAt(plan: GuessPlan | undefined, since: Millis): Millis | undefined {
    if (!this.useful(plan)) return undefined;
    const at = since + this.#after;
    return this.#notBefore > at ? undefined : at;
  }

  /** Does this plan leave us anything to do? */
  useful(plan: GuessPlan | undefined): plan is UsefulPlan {
    return this.allowed && plan !== undefined && plan.side !== "both-dependent";
  }

  started(now: Millis): void {
    this.#notBefore = now + GUESS_AGAIN_MS;
  }

  /** The network changed: an earlier failure says nothing any more. */
  forget(): void {
    this.#notBefore = -Infinity;
  }
}
