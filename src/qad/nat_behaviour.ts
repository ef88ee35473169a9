/**
 * What a NAT does, in the words of RFC 4787, told from what it was seen to do.
 * @module
 */
import type { Address } from "../core/address.ts";

/**
 * RFC 4787 §4.1: does a NAT use one public address and port for all destinations of a socket, one per destination address,
 * or one per destination address and port?
 */
export const MAPPING_BEHAVIOURS = [
  "endpoint-independent",
  "address-dependent",
  "address-and-port-dependent",
] as const;
/** One of {@linkcode MAPPING_BEHAVIOURS}. */
export type MappingBehaviour = typeof MAPPING_BEHAVIOURS[number];

/** RFC 4787 §5: from whom does a NAT let packets in to a mapping? The same three words. */
export type FilteringBehaviour = MappingBehaviour;

/** One observation: asked `target`, was seen at `seen`. */
export interface Observation {
  readonly target: Address;
  readonly seen: Address;
}

/**
 * How a NAT maps, from what two or more targets of one family saw of one socket; `undefined` with fewer than two.
 *
 * One relay address with two ports cannot tell "endpoint-independent" from "address-dependent": the latter needs targets
 * on two addresses. It is called endpoint-independent then, as nearly all such NATs are; when that is wrong, simple
 * probing fails and the tunnel stays relayed as it would have anyway.
 */
export function classifyMapping(
  observations: readonly Observation[],
): MappingBehaviour | undefined {
  let compared = 0;
  let perAddress = false;
  for (const [i, a] of observations.entries()) {
    for (const b of observations.slice(i + 1)) {
      if (a.target.key === b.target.key || a.target.family !== b.target.family) continue;
      compared++;
      if (a.seen.key === b.seen.key) continue;
      if (a.target.host === b.target.host) return "address-and-port-dependent";
      perAddress = true;
    }
  }
  if (compared === 0) return undefined;
  return perAddress ? "address-dependent" : "endpoint-independent";
}
