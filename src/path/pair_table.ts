/**
 * The pairs of one tunnel: a bounded table, in the order of trying.
 * @module
 */
import type { Address } from "../core/address.ts";
import type { Millis } from "../core/clock.ts";
import type { Candidate, CandidateKind } from "./candidate.ts";
import { type DirectPath, P2P_SOCKET, pathKey } from "./direct_path.ts";
import { ACTIVE_STEPS, NEVER, type Pair, probing } from "./pair.ts";

/** Pairs probed in the same instant; each further one waits {@linkcode PACE_MS} more (RFC 8445 §14.2: 5 ms at least). */
const BURST = 8;
const PACE_MS: Millis = 5;
/** A peer-reflexive way that was silent for this long is forgotten: its NAT mapping is gone by then. */
const FORGET_MS: Millis = 120_000;

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

  /** Makes pairs from the P2P socket to what the other end offers, in the families that we have. */
  addOffered(candidates: readonly Candidate[], families: readonly (4 | 6)[]): void {
    for (const { address, kind } of interleaveFamilies(candidates)) {
      if (families.includes(address.family)) this.add(p2pPath(address), kind);
    }
  }

  /** Unproven pairs are probed from the start, proven ones are asked at once whether they still work. */
  probeAnew(now: Millis): void {
    this.recheck(now);
    let index = 0;
    for (const pair of this.#pairs.values()) {
      if (pair.check.name === "valid") continue;
      pair.check = probing(now + Math.max(0, ++index - BURST) * PACE_MS, ACTIVE_STEPS);
    }
  }

  /** Proven pairs are asked at once whether they still work. */
  recheck(now: Millis): void {
    for (const pair of this.#pairs.values()) {
      if (pair.check.name === "valid") pair.check = { ...pair.check, at: now };
    }
  }

  /** Forgets peer-reflexive pairs that have been silent for too long. */
  forgetSilent(now: Millis): void {
    this.retain(({ kind, check, heardAt }) =>
      kind !== "peer-reflexive" || check.name !== "waiting" || now - heardAt < FORGET_MS
    );
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
