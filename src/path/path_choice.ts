/**
 * Which way a tunnel should use, out of those that are proven. A pure function; how ways are proven is the puncher's
 * business, how the tunnel moves is the tunnel's.
 *
 * | tier | way | why |
 * |---|---|---|
 * | 0 | direct, both ends on one network (the peer's own private address answers, or it is on our IPv6 link) | shortest, leaves no building |
 * | 1 | direct over the internet, IPv6 or IPv4 | no third party |
 * | 2 | relayed | always there |
 *
 * A better tier wins at once. Within a tier the round trip decides, IPv6 counting {@linkcode IPV6_BONUS_MS} less (no NAT whose
 * mapping may go away), and the way in use stays unless another is better by both {@linkcode STICKY_MS} and
 * {@linkcode STICKY_SHARE}: moving costs a congestion window, so noise must not move anything.
 * @module
 */
import type { Address } from "../core/address.ts";
import type { Millis } from "../core/clock.ts";
import { type CandidateKind, rangeOf } from "./candidate.ts";
import { type DirectPath, isSamePath } from "./direct_path.ts";

/** IPv6 may be this much slower and still be taken. */
export const IPV6_BONUS_MS: Millis = 3;
/** A way must be this much faster to replace the one in use … */
export const STICKY_MS: Millis = 5;
/** … and by this share of the other's round trip. */
export const STICKY_SHARE = 0.25;

/** A proven direct way. */
export interface PathOption {
  readonly path: DirectPath;
  readonly kind: CandidateKind;
  readonly rtt: Millis;
  /** The other end's address is on a link of ours. @default false */
  readonly onLink?: boolean;
  /** Not to be chosen before: it died or failed lately. */
  readonly heldUntil?: Millis;
}

/** What to use and why, in a few words for the log. */
export type PathChoice =
  | { readonly use: "relayed"; readonly reason: string }
  | { readonly use: "direct"; readonly option: PathOption; readonly reason: string };

const LOCAL_RANGES = new Set(["private", "uniqueLocal", "loopback"]);

/** An address of the very network that this end is in, most likely. */
export function isLocalRange(address: Address): boolean {
  return LOCAL_RANGES.has(rangeOf(address));
}

/** 0 or 1, as the table says. */
export function tierOf(
  { kind, path, onLink }: Pick<PathOption, "kind" | "path" | "onLink">,
): 0 | 1 {
  if (onLink) return 0;
  return kind !== "observed" && isLocalRange(path.remote) ? 0 : 1;
}

function cost({ path, rtt }: PathOption): number {
  return path.remote.family === 6 ? rtt - IPV6_BONUS_MS : rtt;
}

/** The way to use. `current` is the one in use, `undefined` when relayed. */
export function choosePath(
  options: Iterable<PathOption>,
  { current, now }: { current: DirectPath | undefined; now: Millis },
): PathChoice {
  const usable = [...options].filter(({ heldUntil }) =>
    heldUntil === undefined || heldUntil <= now
  );
  usable.sort((a, b) => tierOf(a) - tierOf(b) || cost(a) - cost(b));
  const best = usable[0];
  if (!best) return { use: "relayed", reason: "no direct way is proven" };
  const kept = usable.find(({ path }) => isSamePath(path, current));
  if (!kept) return { use: "direct", option: best, reason: "a direct way is proven" };
  if (kept === best) return { use: "direct", option: kept, reason: "the way in use is the best" };
  if (tierOf(best) < tierOf(kept)) {
    return { use: "direct", option: best, reason: "both ends are on one network" };
  }
  const gain = cost(kept) - cost(best);
  if (gain >= STICKY_MS && gain >= STICKY_SHARE * cost(kept)) {
    const reason = `${Math.round(gain)} ms faster than the way in use`;
    return { use: "direct", option: best, reason };
  }
  return { use: "direct", option: kept, reason: "no other way is enough better" };
}
