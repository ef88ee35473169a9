/**
 * What follows when the operator grants, takes back or revokes: live tunnels end or shrink, and whoever is concerned
 * is told at once, also where a tunnel runs on a direct path and the relay has forgotten it.
 * @module
 */
import type { ClientKind } from "../control/messages.ts";
import {
  changedGrants,
  type GrantChange,
  grantsOf,
  offersOf,
  type PolicySnapshot,
  shared,
  sortedNames,
} from "./registry_policy.ts";
import type { RegistrySession, SessionId } from "./registry_sessions.ts";
import type { GrantChanges, RegistryState } from "./registry_state.ts";
import type { RegistryTunnel } from "./registry_tunnels.ts";

/** What welcome and policy say: services that this agent may open, or that this connector may offer. */
export function servicesFor(policy: PolicySnapshot, kind: ClientKind, name: string): string[] {
  return sortedNames((kind === "agent" ? grantsOf : offersOf)(policy, name));
}

/** Puts a new snapshot in force. */
export function applyPolicy(state: RegistryState, policy: PolicySnapshot): void {
  const before = state.policy;
  state.policy = policy;
  const changes = changedGrants(before, policy);
  for (const kind of ["agent", "connector"] as const) {
    for (const name of policy.revoked[kind].difference(before.revoked[kind])) {
      revoke(state, { kind, name }, before);
    }
  }
  for (const session of state.sessions) refreshSession(state, session);

  const toTell = new Map<RegistrySession, GrantChanges>();
  const changesFor = (connector: RegistrySession) => {
    const known = toTell.get(connector) ?? new Map();
    toTell.set(connector, known);
    return known;
  };
  for (const tunnel of concernedTunnels(state, before, changes)) {
    const connector = state.sessions.of("connector", tunnel.connector);
    state.refresh(tunnel, connector ? changesFor(connector) : new Map());
  }
  for (const { agent, services } of changes) {
    // The revoked were named as such.
    if (policy.revoked.agent.has(agent)) continue;
    for (const service of services) {
      for (const connector of state.sessions.offering(service)) {
        changesFor(connector).set(agent, shared(grantsOf(policy, agent), connector.offered));
      }
    }
  }
  for (const [connector, grants] of toTell) state.tellGrants(connector, grants);
}

function revoke(
  state: RegistryState,
  who: { readonly kind: ClientKind; readonly name: string },
  before: PolicySnapshot,
): void {
  const { kind, name } = who;
  const session = state.sessions.of(kind, name);
  const told = kind === "agent"
    ? connectorsFor(state, grantsOf(before, name))
    : agentsFor(state, before, offersOf(before, name));
  if (session) told.add(session.id);
  for (const id of told) state.send(id, { type: "revoked", kind, name });
  for (const tunnel of state.tunnels.of(kind, name)) state.end(tunnel, "revoked", kind);
  if (!session) return;
  state.sessions.remove(session);
  state.close(session.id, "revoked", `Cannot serve ${kind} "${name}" here as it is revoked`);
}

/** Connectors that offer any of these. */
function connectorsFor(state: RegistryState, services: ReadonlySet<string>): Set<SessionId> {
  const ids = new Set<SessionId>();
  for (const service of services) {
    for (const { id } of state.sessions.offering(service)) ids.add(id);
  }
  return ids;
}

/** Agents that were granted any of these. */
function agentsFor(
  state: RegistryState,
  policy: PolicySnapshot,
  services: ReadonlySet<string>,
): Set<SessionId> {
  const ids = new Set<SessionId>();
  for (const { id, identity } of state.sessions) {
    if (identity.kind !== "agent") continue;
    if (!grantsOf(policy, identity.name).isDisjointFrom(services)) ids.add(id);
  }
  return ids;
}

/** Tells a client what it may open or offer, if that changed. */
function refreshSession(state: RegistryState, session: RegistrySession): void {
  const { kind, name } = session.identity;
  const services = servicesFor(state.policy, kind, name);
  const told = services.join();
  if (told === session.told) return;
  session.told = told;
  if (kind === "connector" && session.wanted) {
    const allowed = offersOf(state.policy, name);
    state.sessions.setOffered(session, session.wanted.intersection(allowed));
  }
  state.send(session.id, { type: "policy", services, agents: [] });
}

/** Tunnels whose services may be others now. */
function concernedTunnels(
  state: RegistryState,
  before: PolicySnapshot,
  changes: readonly GrantChange[],
): Set<RegistryTunnel> {
  const tunnels = new Set<RegistryTunnel>();
  for (const { agent } of changes) {
    for (const tunnel of state.tunnels.of("agent", agent)) tunnels.add(tunnel);
  }
  const connectors = new Set([...before.offers.keys(), ...state.policy.offers.keys()]);
  for (const connector of connectors) {
    const was = offersOf(before, connector);
    const is = offersOf(state.policy, connector);
    if (was.symmetricDifference(is).size === 0) continue;
    for (const tunnel of state.tunnels.of("connector", connector)) tunnels.add(tunnel);
  }
  return tunnels;
}
