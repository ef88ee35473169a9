/**
 * One way that is being tried (RFC 8445 calls it a candidate pair), what is proven of it, and the bounded table of them.
 * @module
 */
import type { Address } from "../core/address.ts";
import type { Millis } from "../core/clock.ts";
import type { Candidate, CandidateKind } from "./candidate.ts";
import { type DirectPath, P2P_SOCKET, pathKey } from "./direct_path.ts";

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
const NEVER: Millis = -Infinity;

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

/**
 * Pairs at most: 32 offered candidates and as many peer-reflexive ones. When full, the oldest peer-reflexive one that is
 * not being tried gives way; if there is none the newcomer is left out (its probes are still answered).
 */
export const MAX_PAIRS = 64;

/** The pairs of one tunnel, in the order of trying. */
export class PairTable {
  #pairs = new Map<string, Pair>();

  get(path: DirectPath): Pair | undefined {
    return this.#pairs.get(pathKey(path));
  }

  [Symbol.iterator](): Iterator<Pair> {
    return this.#pairs.values();
  }

  get anyValid(): boolean {
    for (const pair of this.#pairs.values()) if (pair.check.name === "valid") return true;
    return false;
  }

  get anyProbing(): boolean {
    for (const pair of this.#pairs.values()) if (pair.check.name === "probing") return true;
    return false;
  }

  /** The pair of this path, made where it was not there; `undefined` where there is no room. */
  add(path: DirectPath, kind: CandidateKind): Pair | undefined {
    const known = this.get(path);
    if (known) {
      if (known.kind === "peer-reflexive") known.kind = kind;
      return known;
    }
    if (this.#pairs.size >= MAX_PAIRS && !this.#evict()) return undefined;
    const pair: Pair = {
      path,
      kind,
      check: { name: "waiting" },
      rtt: 0,
      answeredAt: NEVER,
      carriedAt: NEVER,
      heardAt: NEVER,
      lastProbeAt: NEVER,
    };
    this.#pairs.set(pathKey(path), pair);
    return pair;
  }

  /** Keeps the pairs for which `keep` is true. */
  retain(keep: (pair: Pair) => boolean): void {
    for (const [key, pair] of this.#pairs) if (!keep(pair)) this.#pairs.delete(key);
  }

  #evict(): boolean {
    for (const [key, { kind, check }] of this.#pairs) {
      if (kind !== "peer-reflexive" || check.name !== "waiting") continue;
      return this.#pairs.delete(key);
    }
    return false;
  }
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

/** Does the direction from there to us carry full-size packets, as far as lately seen? */
export function carriesHere(pair: Pair, now: Millis): boolean {
  return now - pair.carriedAt <= PROOF_MS;
}

/** Are both directions proven, both lately? */
export function isProven(pair: Pair, now: Millis): boolean {
  return carriesHere(pair, now) && now - pair.answeredAt <= PROOF_MS;
}

/** Nothing is proven any more. */
export function forgetProofs(pair: Pair): void {
  pair.answeredAt = pair.carriedAt = pair.heardAt = NEVER;
}

/** Host candidates before observed ones: they are nearer, and one offer rarely holds many. */
function rank({ kind }: Candidate): number {
  return kind === "host" ? 0 : kind === "observed" ? 1 : 2;
}

/** The order of trying: IPv6 and IPv4 in turns (RFC 8421 §4), so that a dead family delays the other by nothing. */
export function interleaveFamilies(candidates: readonly Candidate[]): Candidate[] {
  const sorted = [...candidates].sort((a, b) => rank(a) - rank(b));
  const of = (family: 4 | 6) => sorted.filter(({ address }) => address.family === family);
  const [six, four] = [of(6), of(4)];
  const order: Candidate[] = [];
  for (let i = 0; i < Math.max(six.length, four.length); i++) {
    if (six[i]) order.push(six[i]!);
    if (four[i]) order.push(four[i]!);
  }
  return order;
}

/** The path from the P2P socket to an address. */
export function p2pPath(remote: Address): DirectPath {
  return { socket: P2P_SOCKET, remote };
}
