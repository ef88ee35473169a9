/**
 * What the registry holds, and the steps that both its requests and a change of policy are made of.
 * @module
 */
import type {
  ClientKind,
  DisconnectedReason,
  ErrorCode,
  RelayMessage,
} from "../control/messages.ts";
import {
  grantsOf,
  offersOf,
  policyMessages,
  type PolicySnapshot,
  shared,
} from "./registry_policy.ts";
import type { RegistryOutput } from "./registry_io.ts";
import { type RegistrySession, type SessionId, SessionTable } from "./registry_sessions.ts";
import { type RegistryTunnel, TunnelTable } from "./registry_tunnels.ts";

/** Grants per agent, waiting to be told to one connector. */
export type GrantChanges = Map<string, string[]>;

/** See the module's head. For the registry's own files. */
export class RegistryState {
  readonly sessions = new SessionTable();
  readonly tunnels = new TunnelTable();
  policy: PolicySnapshot;
  #outputs: RegistryOutput[] = [];
  /** First output not yet polled: a connector's new address can mean tens of thousands. */
  #next = 0;

  constructor(policy: PolicySnapshot) {
    this.policy = policy;
  }

  poll(): RegistryOutput | undefined {
    const output = this.#outputs[this.#next++];
    if (output === undefined) {
      this.#outputs = [];
      this.#next = 0;
    }
    return output;
  }

  send(session: SessionId, message: RelayMessage): void {
    this.#outputs.push({ type: "send", session, message });
  }

  close(session: SessionId, code: ErrorCode, message: string): void {
    this.#outputs.push({ type: "close", session, code, message });
  }

  /** Says where the tunnel's ends are now. */
  route(tunnel: RegistryTunnel): void {
    const a = this.sessions.of("agent", tunnel.agent)?.address;
    const b = this.sessions.of("connector", tunnel.connector)?.address;
    this.#outputs.push({ type: "route", tunnelId: tunnel.id, a, b });
  }

  /** Forgets a tunnel and tells its ends, but for the one that knows. */
  end(tunnel: RegistryTunnel, reason: DisconnectedReason, knows?: ClientKind): void {
    this.tunnels.remove(tunnel);
    this.#outputs.push({ type: "unroute", tunnelId: tunnel.id });
    for (const kind of ["agent", "connector"] as const) {
      const session = this.sessions.of(kind, tunnel[kind]);
      if (!session || kind === knows) continue;
      this.send(session.id, { type: "disconnected", tunnelId: tunnel.id, reason });
    }
  }

  /** Tells the connector of a tunnel, once per session, as soon as both ends are there. */
  announce(tunnel: RegistryTunnel, resume: boolean): void {
    const connector = this.sessions.of("connector", tunnel.connector);
    const agent = this.sessions.of("agent", tunnel.agent);
    if (!connector?.wanted || !agent) return;
    if (tunnel.toldTo !== connector.id) {
      tunnel.toldTo = connector.id;
      const { id: tunnelId, services } = tunnel;
      const { name, pin } = agent.identity;
      const observed = agent.seen.list;
      this.send(connector.id, {
        type: "incoming",
        tunnelId,
        agent: name,
        pin,
        services,
        resume,
        observed,
      });
    }
    if (tunnel.askedBy !== undefined) this.tunnels.stopWaiting(tunnel);
  }

  /**
   * Brings a tunnel's services in line with policy and registration; notes a change that its connector should hear.
   *
   * @returns whether the tunnel is still there
   */
  refresh(tunnel: RegistryTunnel, changes: GrantChanges): boolean {
    const { agent, connector } = tunnel;
    const session = this.sessions.of("connector", connector);
    // What a connector offers that is away, or back and not registered yet, is not known: no more than it did.
    const offered = session?.wanted
      ? session.offered
      : offersOf(this.policy, connector).intersection(new Set(tunnel.services));
    const services = shared(grantsOf(this.policy, agent), offered);
    if (services.join() === tunnel.services.join()) return true;
    tunnel.services = services;
    if (services.length === 0) this.end(tunnel, "not-granted");
    else if (session && tunnel.toldTo === session.id) changes.set(agent, services);
    return services.length > 0;
  }

  tellGrants(connector: RegistrySession, grants: ReadonlyMap<string, string[]>): void {
    for (const message of policyMessages(grants)) this.send(connector.id, message);
  }
}
