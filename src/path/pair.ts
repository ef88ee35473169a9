/**
 * One way that is being tried (RFC 8445 calls it a candidate pair), and what is proven of it.
 * @module
 */
import type { Millis } from "../core/clock.ts";
import type { CandidateKind } from "./candidate.ts";
import type { DirectPath } from "./direct_path.ts";

/**
 * Waits between the probes of one pair in the active phase. They begin at tens of milliseconds because the first probes
 * are lost by design (they open our NAT before the other end has opened its own) and every lost one then costs its wait;
 * they grow because a pair that has not answered six probes is probably dead.
 */
export const ACTIVE_STEPS: readonly Millis[] = [20, 40, 60, 100, 150, 250, 400, 600, 1000];
/** The same after a sign of life in the background: a few, quickly. */
export const BRIEF_STEPS: readonly Millis[] = [50, 100, 200, 400];

/** A proven way that is not in use is looked after at the NAT's pace … */
const UPKEEP_MS: Millis = 25_000;
/** … and when silent asked again quickly, this often, before it counts as lost. */
const UPKEEP_RETRY_MS: Millis = 250;
const UPKEEP_MISSES = 4;
/** A proof of one direction holds for this long while the other is awaited: firewalls and routes change. */
const PROOF_MS: Millis = 10_000;
/** Before all time. */
export const NEVER: Millis = -Infinity;

/** What is being done about a pair. */
export type PairCheck =
  /** Nothing until a round, an offer or a probe from there. */
  | { readonly name: "waiting" }
  /** Full-size probes go out; the next at `at`. */
  | {
    readonly name: "probing";
    readonly step: number;
    readonly at: Millis;
    readonly steps: readonly Millis[];
  }
  /** Proven in both directions; looked after at `at` unless it is the path in use. */
  | { readonly name: "valid"; readonly at: Millis; readonly misses: number };

/** One way that is being tried. */
export interface Pair {
  readonly path: DirectPath;
  /** The most that is known of the remote address. */
  kind: CandidateKind;
  check: PairCheck;
  /** Round trip of our newest full-size probe that was answered, and when: this direction carries full-size packets. */
  rtt: Millis;
  answeredAt: Millis;
  /** When a full-size probe last arrived from there: the other direction carries them too. */
  carriedAt: Millis;
  /** When any authentic packet last came from there. */
  heardAt: Millis;
  lastProbeAt: Millis;
}

/** Probing, from the first step. */
export function probing(at: Millis, steps: readonly Millis[]): PairCheck {
  return { name: "probing", step: 0, at, steps };
}

/** Valid, and just proven. */
export function freshlyValid(now: Millis): PairCheck {
  return { name: "valid", at: now + UPKEEP_MS, misses: 0 };
}

/** What follows a full-size probe that is due now; `undefined`: a valid pair has been silent for too long. */
export function checkAgain({ check, rtt }: Pair, now: Millis): PairCheck | undefined {
  switch (check.name) {
    case "waiting":
      return check;
    case "probing": {
      const wait = check.steps[check.step];
      if (wait === undefined) return { name: "waiting" };
      return { ...check, step: check.step + 1, at: now + wait };
    }
    case "valid": {
      if (check.misses >= UPKEEP_MISSES) return undefined;
      const at = now + Math.max(UPKEEP_RETRY_MS, 2 * rtt);
      return { name: "valid", at, misses: check.misses + 1 };
    }
  }
}

/** A full-size probe was answered after `rtt`. */
export function noteAnswer(pair: Pair, rtt: Millis, now: Millis): void {
  // The other end may have kept the first probes until it had the key: the shortest of an attempt is the truest.
  const first = pair.check.name === "valid" || pair.answeredAt === NEVER;
  pair.rtt = first ? rtt : Math.min(pair.rtt, rtt);
  pair.answeredAt = now;
}

/** Does the direction from there to us carry full-size packets, as far as lately seen? */
export function carriesHere(pair: Pair, now: Millis): boolean {
  return now - pair.carriedAt <= PROOF_MS;
}

/** Has an authentic packet come from there lately? */
export function isHeard(pair: Pair, now: Millis): boolean {
  return now - pair.heardAt <= PROOF_MS;
}

/** Are both directions proven, both lately? */
export function isProven(pair: Pair, now: Millis): boolean {
  return carriesHere(pair, now) && now - pair.answeredAt <= PROOF_MS;
}

/** Nothing is proven any more. */
export function forgetProofs(pair: Pair): void {
  pair.answeredAt = pair.carriedAt = pair.heardAt = NEVER;
}
