/**
 * The table by which the relay opens a tunnel or refuses it.
 *
 * | # | condition | answer |
 * |---|---|---|
 * | 1 | the tunnel exists, of another agent or to another connector than named | tunnel-clash |
 * | 2 | the tunnel exists, and what is asked for is in it | granted: the same tunnel goes on |
 * | 3 | the service is not granted (on resuming: nothing that the named connector offers is) | not-granted |
 * | 4 | the relay is about to stop | draining |
 * | 5 | no connector (or not the named one) was invited to offer it | unknown-service |
 * | 6 | none of them is online with it | offline |
 * | 7 | the agent, or the relay, has as many tunnels as it may | too-many |
 * | 8 | otherwise | granted: the named connector, or the one with the fewest tunnels |
 *
 * What is not granted is refused before anything else is looked at, so that nobody learns which services exist.
 * @module
 */
import type { ClientMessageOf, RefusedReason } from "../control/messages.ts";
import { grantsOf, offersOf, type PolicySnapshot, shared } from "./registry_policy.ts";
import type { RegistrySession, SessionTable } from "./registry_sessions.ts";
import type { RegistryTunnel, TunnelTable } from "./registry_tunnels.ts";

/** What the decision looks at. */
export interface ConnectFacts {
  readonly policy: PolicySnapshot;
  readonly sessions: SessionTable;
  readonly tunnels: TunnelTable;
  readonly draining: boolean;
  readonly maxTunnels: number;
  readonly maxTunnelsPerAgent: number;
}

/** Go on with a tunnel, open one to a connector, or not. */
export type ConnectDecision =
  | { readonly type: "resume"; readonly tunnel: RegistryTunnel }
  | {
    readonly type: "open";
    readonly connector: RegistrySession;
    readonly services: string[];
    /** Other connectors online with the service, fewest tunnels first. */
    readonly alternatives: string[];
  }
  | { readonly type: "refused"; readonly reason: RefusedReason; readonly message: string };

/** Decides by the table above. Changes nothing. */
export function decideConnect(
  agent: string,
  wanted: ClientMessageOf<"connect">,
  facts: ConnectFacts,
): ConnectDecision {
  const { service, connector, tunnelId } = wanted;
  const { policy, tunnels } = facts;
  const refuse = (reason: RefusedReason, why: string): ConnectDecision => ({
    type: "refused",
    reason,
    message: `Cannot open flow to "${service}" ${why}`,
  });
  const notGranted = () => refuse("not-granted", `as agent "${agent}" is not granted it`);

  const tunnel = tunnels.get(tunnelId);
  if (tunnel) {
    const other = connector !== null && connector !== tunnel.connector;
    if (tunnel.agent !== agent || other) {
      return refuse("tunnel-clash", `as tunnel ${tunnelId} is in use`);
    }
    if (!wanted.resume && !tunnel.services.includes(service)) {
      return grantsOf(policy, agent).has(service)
        ? refuse("tunnel-clash", `as tunnel ${tunnelId} leads to connector "${tunnel.connector}"`)
        : notGranted();
    }
    return { type: "resume", tunnel };
  }

  // A tunnel that comes back may have been opened for another of its services than those that are granted now.
  const asWhole = wanted.resume && connector !== null;
  const granted = grantsOf(policy, agent);
  const invited = asWhole
    ? granted.isDisjointFrom(offersOf(policy, connector)) ? [] : [connector]
    : invitedFor(service, connector, policy);
  if (asWhole ? invited.length === 0 : !granted.has(service)) return notGranted();
  if (facts.draining) return refuse("draining", "as the relay is about to stop");
  if (invited.length === 0) return refuse("unknown-service", whyUnknown(connector));
  const live = liveConnectors(wanted, asWhole, granted, facts);
  const best = live[0];
  if (!best) return refuse("offline", whyOffline(invited, facts.sessions));
  if (tunnels.count("agent", agent) >= facts.maxTunnelsPerAgent) {
    const many = `as agent "${agent}" has ${facts.maxTunnelsPerAgent} tunnels, which is the most`;
    return refuse("too-many", many);
  }
  if (tunnels.size >= facts.maxTunnels) {
    return refuse("too-many", `as the relay has ${facts.maxTunnels} tunnels, which is the most`);
  }
  return {
    type: "open",
    connector: best,
    services: shared(granted, best.offered),
    alternatives: otherConnectors(service, best, facts).map(({ identity }) => identity.name),
  };
}

function invitedFor(service: string, named: string | null, policy: PolicySnapshot): string[] {
  const names = named === null ? [...policy.offers.keys()] : [named];
  return names.filter((name) => offersOf(policy, name).has(service));
}

function liveConnectors(
  { service, connector }: ClientMessageOf<"connect">,
  asWhole: boolean,
  granted: ReadonlySet<string>,
  { sessions, tunnels }: ConnectFacts,
): RegistrySession[] {
  if (connector === null) return byLoad(sessions.offering(service), tunnels);
  const session = sessions.of("connector", connector);
  const fits = asWhole
    ? session && !granted.isDisjointFrom(session.offered)
    : session?.offered.has(service);
  return session && fits ? [session] : [];
}

function otherConnectors(
  service: string,
  chosen: RegistrySession,
  { sessions, tunnels }: ConnectFacts,
): RegistrySession[] {
  // 16 are enough to find a near one; more would make every answer long.
  return byLoad(sessions.offering(service), tunnels).filter((other) => other !== chosen)
    .slice(0, 16);
}

/** Fewest tunnels first; among equals by name, so that the choice can be foretold. */
function byLoad(connectors: Iterable<RegistrySession>, tunnels: TunnelTable): RegistrySession[] {
  return [...connectors]
    .map((session) => ({ session, load: tunnels.count("connector", session.identity.name) }))
    .sort((a, b) => a.load - b.load || (a.session.identity.name < b.session.identity.name ? -1 : 1))
    .map(({ session }) => session);
}

function whyUnknown(connector: string | null): string {
  return connector === null
    ? "as no connector offers it"
    : `as connector "${connector}" does not offer it`;
}

function whyOffline(invited: readonly string[], sessions: SessionTable): string {
  const online = invited.find((name) => sessions.of("connector", name));
  if (online !== undefined) return `as connector "${online}" was started without it`;
  return invited.length === 1
    ? `as connector "${invited[0]}" is offline`
    : "as none of its connectors is online";
}
