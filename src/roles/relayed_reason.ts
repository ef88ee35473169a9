/**
 * Why a tunnel is relayed, for status: what both ends know, in words.
 * @module
 */
import { whyRelayed } from "../path/mod.ts";
import type { Tunnel } from "../tunnel/mod.ts";
import type { FamilyView, LocalPaths } from "./local_paths.ts";

/** `no IPv6 route; IPv4: both NATs map per destination`; null before anything is known. */
export function explainRelayed(tunnel: Tunnel, paths: LocalPaths): string | null {
  const facts = tunnel.direct?.relayedFacts;
  if (!facts) return null;
  const own = paths.candidates();
  const peer = facts.peerOffer?.candidates ?? [];
  const family = (number: 4 | 6, view: FamilyView) => ({
    local: own.some(({ address }) => address.family === number),
    remote: peer.some(({ address }) => address.family === number),
    observed: view.heard,
    ownMapping: view.mapping,
    peerMapping: facts.peerOffer?.mapping[number === 4 ? "v4" : "v6"],
    outcome: facts.outcomes.get(number),
  });
  return whyRelayed({
    noDirect: facts.noDirect,
    peerNoDirect: facts.peerNoDirect,
    offered: facts.offered,
    v4: family(4, paths.v4),
    v6: family(6, paths.v6),
  });
}
