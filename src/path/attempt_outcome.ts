/**
 * Why an attempt to go direct ended without a way, per family.
 * @module
 */
import type { Millis } from "../core/clock.ts";
import type { GuessPlan } from "./port_guess.ts";
import type { Pair } from "./pair.ts";

/** Why a family has no proven way after an attempt. */
export type AttemptOutcome =
  /** No probe was answered and none arrived. */
  | "no-answer"
  /** Probes pass in one direction only. */
  | "one-way"
  /** Small probes pass, those of `BASE_MTU` bytes do not. */
  | "small-only"
  /** Both NATs map per destination: nothing to aim at. */
  | "both-dependent"
  /** One NAT maps per destination and no port was hit. */
  | "guess-failed"
  /** One NAT maps per destination and guessing is switched off. */
  | "guess-off";

/** What guessing came to in this attempt. */
export interface GuessFacts {
  readonly plan: GuessPlan | undefined;
  /** Was it allowed? */
  readonly allowed: boolean;
  /** When the attempt began. */
  readonly since: Millis;
}

/** The outcome of each family that had candidates, of an attempt in which no pair was proven. */
export function attemptOutcomes(
  pairs: Iterable<Pair>,
  guess: GuessFacts,
): { family: 4 | 6; outcome: AttemptOutcome }[] {
  const all = [...pairs];
  return ([4, 6] as const).flatMap((family) => {
    const tried = all.filter(({ path }) => path.remote.family === family);
    return tried.length === 0 ? [] : [{ family, outcome: outcomeOf(family, tried, guess) }];
  });
}

function outcomeOf(family: 4 | 6, pairs: readonly Pair[], guess: GuessFacts): AttemptOutcome {
  const since = (at: Millis) => at >= guess.since;
  if (pairs.some((pair) => since(pair.answeredAt) !== since(pair.carriedAt))) return "one-way";
  if (pairs.some((pair) => since(pair.heardAt))) return "small-only";
  if (guess.plan?.family !== family) return "no-answer";
  if (guess.plan.side === "both-dependent") return "both-dependent";
  return guess.allowed ? "guess-failed" : "guess-off";
}
