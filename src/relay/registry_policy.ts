/**
 * Who may do what, as the registry sees it: one snapshot at a time, never a file or a database.
 * @module
 */
import { MAX_AGENT_GRANTS, MAX_SERVICES } from "../control/fields.ts";
import type { ClientKind, RelayMessageOf } from "../control/messages.ts";

/** What the operator has decided. Names that occur nowhere may do nothing. */
export interface PolicySnapshot {
  /** Agent name -> services that it may open. */
  readonly grants: ReadonlyMap<string, ReadonlySet<string>>;
  /** Connector name -> services that it was invited to offer. */
  readonly offers: ReadonlyMap<string, ReadonlySet<string>>;
  /** Names of the revoked, per kind. Their grants and offers count for nothing. */
  readonly revoked: Readonly<Record<ClientKind, ReadonlySet<string>>>;
}

const NOTHING: ReadonlySet<string> = new Set();

/** Nobody may do anything. */
export const EMPTY_POLICY: PolicySnapshot = {
  grants: new Map(),
  offers: new Map(),
  revoked: { agent: NOTHING, connector: NOTHING },
};

/** What an agent may open: nothing where it is unknown or revoked. */
export function grantsOf(policy: PolicySnapshot, agent: string): ReadonlySet<string> {
  if (policy.revoked.agent.has(agent)) return NOTHING;
  return policy.grants.get(agent) ?? NOTHING;
}

/** What a connector may offer: nothing where it is unknown or revoked. */
export function offersOf(policy: PolicySnapshot, connector: string): ReadonlySet<string> {
  if (policy.revoked.connector.has(connector)) return NOTHING;
  return policy.offers.get(connector) ?? NOTHING;
}

/** Names in order, as many as a message may hold. */
export function sortedNames(names: Iterable<string>): string[] {
  return [...names].sort().slice(0, MAX_SERVICES);
}

/** What two sets have in common, in order, as many as a message may hold. */
export function shared(a: ReadonlySet<string>, b: ReadonlySet<string>): string[] {
  return sortedNames(a.intersection(b));
}

/** An agent with the services that it gained or lost. */
export interface GrantChange {
  readonly agent: string;
  readonly services: ReadonlySet<string>;
}

/** Agents whose grants differ, with the services in question. The newly revoked count as having lost theirs. */
export function changedGrants(
  before: PolicySnapshot,
  after: PolicySnapshot,
): GrantChange[] {
  const agents = new Set([
    ...before.grants.keys(),
    ...after.grants.keys(),
    ...before.revoked.agent,
    ...after.revoked.agent,
  ]);
  const changed: GrantChange[] = [];
  for (const agent of agents) {
    const was = grantsOf(before, agent);
    const is = grantsOf(after, agent);
    const services = was === is ? NOTHING : was.symmetricDifference(is);
    if (services.size > 0) changed.push({ agent, services });
  }
  return changed;
}

/** JSON of grants in one policy message, in bytes: leaves a quarter of the longest message for the rest. */
const MAX_GRANTS_BYTES = 48 * 1024;

/** Policy messages that carry these grants, as few as the bounds allow. */
export function policyMessages(agents: ReadonlyMap<string, string[]>): RelayMessageOf<"policy">[] {
  const messages: RelayMessageOf<"policy">[] = [];
  let bytes = Infinity;
  for (const [agent, services] of agents) {
    // Names are ASCII: a quote at each end and a comma for each, and the entry's own braces and keys.
    const size = services.reduce((sum, name) => sum + name.length + 3, agent.length + 30);
    const last = messages.at(-1);
    if (!last || last.agents.length >= MAX_AGENT_GRANTS || bytes + size > MAX_GRANTS_BYTES) {
      messages.push({ type: "policy", services: null, agents: [{ agent, services }] });
      bytes = size;
    } else {
      last.agents.push({ agent, services });
      bytes += size;
    }
  }
  return messages;
}
