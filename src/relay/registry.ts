/**
 * What the relay knows of its clients: who is connected, who offers what, which tunnels join whom, and so which
 * address may send to which. Pure: the role feeds it what happens and does what it says.
 *
 * A tunnel outlives the connections of its ends:
 *
 * ```
 *             connect                     an end's session ends
 *  (none) --------------> both ends there ----------------------> waiting (60 s)
 *             granted          ^                                    |   |
 *                              +------------------------------------+   | time is up: the other end is told
 *                agent asks again, connector registers again            v
 *                                                                     (none)
 * ```
 *
 * After a restart the relay knows no tunnels: agents ask again for theirs (`resume`), and connectors are told of them
 * again, which is news to neither.
 * @module
 */
import type { Address, Machine, Millis } from "../core/mod.ts";
import { MAX_TUNNELS_PER_AGENT } from "../control/client_tunnels.ts";
import type { ClientKind, ClientMessageOf, ErrorCode } from "../control/messages.ts";
import { decideConnect } from "./connect_decision.ts";
import {
  MAX_SESSIONS,
  MAX_TUNNELS,
  type OpenSession,
  type RegistryInput,
  type RegistryOptions,
  type RegistryOutput,
  type RegistryRequest,
  TUNNEL_GRACE_MS,
} from "./registry_io.ts";
import { grantsOf, offersOf, shared, sortedNames } from "./registry_policy.ts";
import { applyPolicy, servicesFor } from "./registry_policy_change.ts";
import type { RegistrySession } from "./registry_sessions.ts";
import { type GrantChanges, RegistryState } from "./registry_state.ts";
import type { RegistryTunnel } from "./registry_tunnels.ts";
import { SeenAddresses } from "./seen_addresses.ts";

export * from "./registry_io.ts";
export { EMPTY_POLICY, type PolicySnapshot } from "./registry_policy.ts";
export type { RegistrySession, SessionId, SessionIdentity } from "./registry_sessions.ts";
export type { RegistryTunnel } from "./registry_tunnels.ts";

/** A tunnel younger than this may still be without the offers that its ends exchange inside it. */
const FRESH_TUNNEL_MS: Millis = 5_000;

/** See the module's head. */
export class Registry implements Machine<RegistryInput, RegistryOutput> {
  readonly #options: Required<Omit<RegistryOptions, "policy">>;
  readonly #state: RegistryState;
  #draining = false;

  constructor(options: RegistryOptions) {
    this.#state = new RegistryState(options.policy);
    this.#options = {
      maxSessions: options.maxSessions ?? MAX_SESSIONS,
      maxTunnels: options.maxTunnels ?? MAX_TUNNELS,
      maxTunnelsPerAgent: options.maxTunnelsPerAgent ?? MAX_TUNNELS_PER_AGENT,
      graceMs: options.graceMs ?? TUNNEL_GRACE_MS,
    };
  }

  /** Connected clients, for status. */
  get sessions(): Iterable<Readonly<RegistrySession>> {
    return this.#state.sessions;
  }

  /** Tunnels, for status. */
  get tunnels(): Iterable<Readonly<RegistryTunnel>> {
    return this.#state.tunnels;
  }

  /** What welcome says: services that this agent may open, or that this connector may offer. */
  servicesFor(kind: ClientKind, name: string): string[] {
    return servicesFor(this.#state.policy, kind, name);
  }

  handle(input: RegistryInput, now: Millis): void {
    const { sessions } = this.#state;
    switch (input.type) {
      case "open":
        return this.#open(input, now);
      case "policy":
        return applyPolicy(this.#state, input.policy);
      case "drain":
        this.#draining = true;
        for (const { id } of sessions) {
          this.#state.send(id, { type: "draining", graceMs: input.graceMs });
        }
        return;
      case "tick":
        return this.#tick(now);
      default: {
        // A session that was closed from this side may still have had something to say.
        const session = sessions.get(input.session);
        if (!session) return;
        if (input.type === "close") this.#leave(session, now);
        else if (input.type === "address") this.#move(session, input.address);
        else if (input.type === "asked") {
          if (session.seen.asked(input.from)) this.#tellSeen(session, now);
        } else this.#request(session, input.request, now);
      }
    }
  }

  poll(): RegistryOutput | undefined {
    return this.#state.poll();
  }

  deadline(): Millis | undefined {
    return this.#state.tunnels.nextToForget()?.[1];
  }

  #open({ session: id, identity, instance, attempt, address }: OpenSession, now: Millis): void {
    const { sessions, tunnels, policy } = this.#state;
    const { kind, name } = identity;
    const refuse = (code: ErrorCode, why: string, session = id) =>
      this.#state.close(session, code, `Cannot serve ${kind} "${name}" here ${why}`);
    if (sessions.get(id)) return;
    if (policy.revoked[kind].has(name)) return refuse("revoked", "as it is revoked");
    if (this.#draining) return refuse("draining", "as the relay is about to stop");
    const old = sessions.of(kind, name);
    const replaced = "as a newer connection of the same identity is there";
    if (old?.instance === instance && old.attempt > attempt) return refuse("replaced", replaced);
    if (old) {
      refuse("replaced", replaced, old.id);
      this.#leave(old, now);
    }
    if (sessions.size >= this.#options.maxSessions) {
      const most = this.#options.maxSessions;
      return refuse("too-many", `as ${most} clients are connected, which is the most`);
    }
    sessions.add({
      id,
      identity,
      instance,
      attempt,
      address,
      wanted: undefined,
      offered: new Set(),
      seen: new SeenAddresses(),
      told: this.servicesFor(kind, name).join(),
    });
    for (const tunnel of tunnels.of(kind, name)) {
      if (tunnel.instances[kind] !== instance) this.#state.end(tunnel, "restarted", kind);
      else this.#state.route(tunnel);
    }
  }

  #leave(session: RegistrySession, now: Millis): void {
    const { kind, name } = session.identity;
    this.#state.sessions.remove(session);
    for (const tunnel of this.#state.tunnels.of(kind, name)) {
      if (kind === "agent") tunnel.askedBy = undefined;
      else tunnel.toldTo = undefined;
      this.#state.tunnels.wait(tunnel, now + this.#options.graceMs);
      this.#state.route(tunnel);
    }
  }

  #move(session: RegistrySession, address: Address): void {
    if (session.address.key === address.key) return;
    session.address = address;
    const { kind, name } = session.identity;
    for (const tunnel of this.#state.tunnels.of(kind, name)) this.#state.route(tunnel);
  }

  #request(session: RegistrySession, request: RegistryRequest, now: Millis): void {
    const { kind, name } = session.identity;
    if (request.type === "disconnect") {
      const tunnel = this.#state.tunnels.get(request.tunnelId);
      if (tunnel?.[kind] === name) this.#state.end(tunnel, "closed", kind);
    } else if (request.type === "observed") {
      if (session.seen.say(request.addresses)) this.#tellSeen(session, now);
    } else if (kind === "agent") {
      if (request.type === "connect") this.#connect(session, request, now);
    } else if (request.type === "register") {
      session.seen.say(request.observed);
      this.#register(session, request.services);
    } else if (request.type === "review") this.#review(session, request.agents);
  }

  /** The other ends of a client's tunnels learn where it is seen. */
  #tellSeen({ identity: { kind, name }, seen }: RegistrySession, now: Millis): void {
    const other = kind === "agent" ? "connector" : "agent";
    for (const tunnel of this.#state.tunnels.of(kind, name)) {
      // Older ones have long told each other inside the tunnel; and one message must not become thousands.
      if (now - tunnel.since > FRESH_TUNNEL_MS) continue;
      const end = this.#state.sessions.of(other, tunnel[other]);
      const observed = seen.list;
      if (end) this.#state.send(end.id, { type: "seen", tunnelId: tunnel.id, observed });
    }
  }

  #connect(session: RegistrySession, wanted: ClientMessageOf<"connect">, now: Millis): void {
    const { policy, sessions, tunnels } = this.#state;
    const agent = session.identity.name;
    const { request, tunnelId } = wanted;
    session.seen.say(wanted.observed);
    const draining = this.#draining;
    const facts = { policy, sessions, tunnels, draining, ...this.#options };
    const decision = decideConnect(agent, wanted, facts);
    if (decision.type === "refused") {
      const { reason, message } = decision;
      return this.#state.send(session.id, { type: "refused", request, reason, message });
    }
    let tunnel: RegistryTunnel;
    if (decision.type === "resume") {
      tunnel = decision.tunnel;
      tunnel.askedBy = session.id;
    } else {
      const { identity, instance } = decision.connector;
      tunnel = {
        id: tunnelId,
        agent,
        connector: identity.name,
        instances: { agent: session.instance, connector: instance },
        pin: identity.pin,
        serverName: identity.serverName,
        services: decision.services,
        askedBy: session.id,
        toldTo: undefined,
        since: now,
      };
      tunnels.add(tunnel);
    }
    this.#state.route(tunnel);
    // The connector first: it should know of the tunnel when the agent's first packet comes.
    this.#state.announce(tunnel, wanted.resume);
    const { connector, serverName, pin, services } = tunnel;
    const alternatives = decision.type === "open" ? decision.alternatives : [];
    this.#state.send(session.id, {
      type: "granted",
      request,
      tunnelId,
      connector,
      serverName,
      pin,
      services,
      alternatives,
      observed: sessions.of("connector", connector)?.seen.list ?? [],
    });
  }

  #register(session: RegistrySession, services: readonly string[]): void {
    const { name } = session.identity;
    const allowed = offersOf(this.#state.policy, name);
    session.wanted = new Set(services);
    this.#state.sessions.setOffered(session, session.wanted.intersection(allowed));
    this.#state.send(session.id, {
      type: "registered",
      services: sortedNames(session.offered),
      refused: sortedNames(session.wanted.difference(allowed)),
    });
    const changes: GrantChanges = new Map();
    for (const tunnel of this.#state.tunnels.of("connector", name)) {
      if (this.#state.refresh(tunnel, changes)) this.#state.announce(tunnel, true);
    }
    this.#state.tellGrants(session, changes);
  }

  #review(session: RegistrySession, agents: readonly string[]): void {
    const { policy } = this.#state;
    this.#state.tellGrants(
      session,
      new Map(agents.map((agent) => [agent, shared(grantsOf(policy, agent), session.offered)])),
    );
  }

  #tick(now: Millis): void {
    for (;;) {
      const [tunnel, until] = this.#state.tunnels.nextToForget() ?? [];
      if (!tunnel || until! > now) return;
      this.#state.end(tunnel, "offline");
    }
  }
}
