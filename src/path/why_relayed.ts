/**
 * Why is a tunnel relayed? One text that a person can act on, out of what is known.
 * @module
 */
import type { MappingBehaviour } from "../qad/mod.ts";
import type { AttemptOutcome } from "./attempt_outcome.ts";

/** What is known of one family. */
export interface FamilyFacts {
  /** Do we have an address of this family to be reached at? */
  readonly local: boolean;
  /** Does the other end? */
  readonly remote: boolean;
  /** Does the relay see our P2P socket? `false`: asked and not answered; `undefined`: not asked, or not known yet. */
  readonly observed?: boolean | undefined;
  readonly ownMapping?: MappingBehaviour | undefined;
  readonly peerMapping?: MappingBehaviour | undefined;
  /** How the last attempt ended. */
  readonly outcome?: AttemptOutcome | undefined;
}

/** What is known altogether. */
export interface RelayedFacts {
  /** `--no-direct` here. */
  readonly noDirect?: boolean;
  /** `--no-direct` at the other end: it offers nothing on purpose. */
  readonly peerNoDirect?: boolean;
  /** Has the other end's offer arrived? */
  readonly offered: boolean;
  readonly v4: FamilyFacts;
  readonly v6: FamilyFacts;
}

const OUTCOMES: Record<AttemptOutcome, string> = {
  "no-answer": "no probe got through (a firewall between the two ends drops UDP)",
  "one-way": "probes pass in one direction only (a firewall drops UDP the other way)",
  "small-only": "small packets pass but those of 1200 bytes do not (a link with too small an MTU)",
  "both-dependent": "both NATs map per destination",
  "guess-failed": "one NAT maps per destination and no open port of it was found",
  "guess-off": "one NAT maps per destination and port guessing is switched off",
};

function familyReason(name: string, facts: FamilyFacts): string {
  if (!facts.local) return `no ${name} route`;
  if (!facts.remote) return `${name}: the other end has no ${name} address`;
  if (facts.outcome && facts.outcome !== "no-answer") return `${name}: ${OUTCOMES[facts.outcome]}`;
  if (facts.observed === false) {
    return `${name}: the relay does not hear the P2P port (a firewall blocks UDP from it)`;
  }
  const { ownMapping, peerMapping } = facts;
  const dependent = (mapping?: MappingBehaviour) =>
    mapping !== undefined && mapping !== "endpoint-independent";
  if (dependent(ownMapping) && dependent(peerMapping)) {
    return `${name}: ${OUTCOMES["both-dependent"]}`;
  }
  return `${name}: ${facts.outcome ? OUTCOMES[facts.outcome] : "still trying"}`;
}

/** `no IPv6 route; IPv4: both NATs map per destination` */
export function whyRelayed(facts: RelayedFacts): string {
  if (facts.noDirect) return "direct paths are switched off here (--no-direct)";
  if (facts.peerNoDirect) return "direct paths are switched off at the other end (--no-direct)";
  if (!facts.offered) return "the other end has not said where it may be reached";
  return `${familyReason("IPv6", facts.v6)}; ${familyReason("IPv4", facts.v4)}`;
}
