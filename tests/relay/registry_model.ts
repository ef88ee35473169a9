/**
 * A slow, exact reference for the registry: lists that are searched from end to end, and nothing derived is kept.
 * Written from the registry's contract, not from its code.
 * @module
 */
import type { Address } from "../../src/core/mod.ts";
import type { ClientKind, ClientMessageOf } from "../../src/control/messages.ts";
import type {
  OpenSession,
  PolicySnapshot,
  RegistryInput,
  RegistryOutput,
  RegistryRequest,
} from "../../src/relay/registry.ts";

/** Small, so that tests reach them. */
export const MODEL_BOUNDS = { maxSessions: 3, maxTunnels: 3, maxTunnelsPerAgent: 2, graceMs: 60 };

/** A policy as lists: `[name, service]`. */
export interface PolicyLists {
  readonly grants: readonly (readonly [string, string])[];
  readonly offers: readonly (readonly [string, string])[];
  readonly revoked: readonly (readonly [ClientKind, string])[];
}

/** The form that the registry takes. */
export function snapshotOf({ grants, offers, revoked }: PolicyLists): PolicySnapshot {
  const group = (pairs: readonly (readonly [string, string])[]) => {
    const groups = new Map<string, Set<string>>();
    for (const [name, service] of pairs) {
      groups.set(name, (groups.get(name) ?? new Set()).add(service));
    }
    return groups;
  };
  const names = (kind: ClientKind) =>
    new Set(revoked.filter(([of]) => of === kind).map(([, name]) => name));
  return {
    grants: group(grants),
    offers: group(offers),
    revoked: { agent: names("agent"), connector: names("connector") },
  };
}

interface Session extends OpenSession {
  address: Address;
  wanted: readonly string[] | undefined;
  /** Everything that was heard of where it is seen, oldest first. */
  heard: ({ said: readonly string[] } | { asked: Address })[];
}

interface Tunnel {
  readonly id: string;
  readonly agent: string;
  readonly connector: string;
  readonly agentInstance: string;
  readonly connectorInstance: string;
  readonly pin: string;
  readonly serverName: string;
  services: string[];
  asked: boolean;
  told: boolean;
  forgetAt: number | undefined;
}

/** A message or a close: what the reference says beside routes. */
export type Said = Exclude<RegistryOutput, { type: "route" | "unroute" }>;

/** See the module's head. */
export class RegistryModel {
  sessions: Session[] = [];
  tunnels: Tunnel[] = [];
  policy: PolicyLists;
  draining = false;
  said: Said[] = [];

  constructor(policy: PolicyLists) {
    this.policy = policy;
  }

  /** What must be said on this input. */
  handle(input: Exclude<RegistryInput, { type: "policy" }>, now: number): Said[] {
    this.said = [];
    const session = "session" in input && input.type !== "open"
      ? this.sessions.find(({ session }) => session === input.session)
      : undefined;
    if (input.type === "open") this.#open(input, now);
    else if (input.type === "tick") {
      for (const tunnel of this.tunnels.filter(({ forgetAt }) => forgetAt! <= now)) {
        this.#end(tunnel, "offline");
      }
    } else if (input.type === "drain") {
      this.draining = true;
      for (const { session } of this.sessions) {
        this.said.push({
          type: "send",
          session,
          message: { type: "draining", graceMs: input.graceMs },
        });
      }
    } else if (session && input.type === "close") this.#leave(session, now);
    else if (session && input.type === "address") session.address = input.address;
    else if (session && input.type === "asked") this.#hear(session, { asked: input.from });
    else if (session && input.type === "request") this.#request(session, input.request);
    return this.said;
  }

  /** What must be said on a change of policy. */
  setPolicy(policy: PolicyLists): Said[] {
    this.said = [];
    const before = this.policy;
    const listsBefore = this.sessions.map((session) => this.#list(session));
    const namedBefore = this.sessions.map((session) => this.offered(session));
    const online = [...this.sessions];
    const wasGranted = (agent: string) => this.granted(agent);
    const grantsBefore = new Map(
      [...policy.grants, ...before.grants].map(([agent]) => [agent, wasGranted(agent)]),
    );
    const offersBefore = new Map(
      [...policy.offers, ...before.offers].map(([name]) => [name, this.mayOffer(name)]),
    );
    this.policy = policy;
    const isNew = ([kind, name]: readonly [ClientKind, string]) =>
      !before.revoked.some(([k, n]) => k === kind && n === name);
    const revoked = policy.revoked.filter(isNew);
    // Both kinds at once are revoked agents first: a connector that goes next still hears of them.
    for (const [kind, name] of revoked.toSorted()) {
      for (const [i, session] of online.entries()) {
        if (!this.sessions.includes(session)) continue;
        const own = session.identity.kind === kind && session.identity.name === name;
        const concerned = session.identity.kind !== kind &&
          (kind === "agent"
            ? namedBefore[i]!.some((service) => grantsBefore.get(name)?.includes(service))
            : offersBefore.get(name)?.some((service) =>
              grantsBefore.get(session.identity.name)?.includes(service)
            ));
        if (own || concerned) {
          this.#send(session, { type: "revoked", kind, name });
        }
      }
      for (const tunnel of this.tunnels.filter((tunnel) => tunnel[kind] === name)) {
        this.#end(tunnel, "revoked", kind);
      }
      const session = this.#online(kind, name);
      if (session) {
        this.sessions = this.sessions.filter((other) => other !== session);
        const message = `Cannot serve ${kind} "${name}" here as it is revoked`;
        this.said.push({ type: "close", session: session.session, code: "revoked", message });
      }
    }
    for (const [i, session] of online.entries()) {
      const list = this.#list(session);
      if (!this.sessions.includes(session) || list.join() === listsBefore[i]!.join()) continue;
      this.#send(session, { type: "policy", services: list, agents: [] });
    }
    const changed = new Map<Tunnel, boolean>();
    for (const tunnel of [...this.tunnels]) changed.set(tunnel, this.#refresh(tunnel));
    for (const session of this.sessions) {
      if (session.identity.kind !== "connector") continue;
      const agents = [];
      for (const agent of new Set([...grantsBefore.keys()])) {
        if (policy.revoked.some(([kind, name]) => kind === "agent" && name === agent)) continue;
        const was = grantsBefore.get(agent)!;
        const is = this.granted(agent);
        const regranted = this.offered(session).some((service) =>
          was.includes(service) !== is.includes(service)
        );
        const reshaped = this.tunnels.some((tunnel) =>
          tunnel.agent === agent && tunnel.connector === session.identity.name && tunnel.told &&
          changed.get(tunnel)
        );
        if (!regranted && !reshaped) continue;
        agents.push({ agent, services: both(is, this.offered(session)) });
      }
      if (agents.length > 0) this.#send(session, { type: "policy", services: null, agents });
    }
    return this.said;
  }

  /** Who may forward to whom: tunnel id -> both addresses. */
  routes(): Map<string, { a: Address | undefined; b: Address | undefined }> {
    return new Map(this.tunnels.map((tunnel) => [tunnel.id, {
      a: this.#online("agent", tunnel.agent)?.address,
      b: this.#online("connector", tunnel.connector)?.address,
    }]));
  }

  granted(agent: string): string[] {
    return this.#unless("agent", agent, this.policy.grants);
  }

  mayOffer(connector: string): string[] {
    return this.#unless("connector", connector, this.policy.offers);
  }

  offered(session: Session): string[] {
    if (session.identity.kind === "agent") return [];
    return both(session.wanted ?? [], this.mayOffer(session.identity.name));
  }

  #unless(kind: ClientKind, name: string, pairs: PolicyLists["grants"]): string[] {
    if (this.policy.revoked.some(([k, n]) => k === kind && n === name)) return [];
    return [...new Set(pairs.filter(([of]) => of === name).map(([, service]) => service))].sort();
  }

  #list({ identity: { kind, name } }: Session): string[] {
    return kind === "agent" ? this.granted(name) : this.mayOffer(name);
  }

  #online(kind: ClientKind, name: string): Session | undefined {
    return this.sessions.find(({ identity }) => identity.kind === kind && identity.name === name);
  }

  #open(input: OpenSession, now: number): void {
    const { session, identity, instance, attempt } = input;
    const { kind, name } = identity;
    const close = (
      id: number,
      code: "revoked" | "draining" | "replaced" | "too-many",
      why: string,
    ) =>
      this.said.push({
        type: "close",
        session: id,
        code,
        message: `Cannot serve ${kind} "${name}" here as ${why}`,
      });
    if (this.sessions.some((other) => other.session === session)) return;
    if (this.policy.revoked.some(([k, n]) => k === kind && n === name)) {
      return void close(session, "revoked", "it is revoked");
    }
    if (this.draining) return void close(session, "draining", "the relay is about to stop");
    const old = this.#online(kind, name);
    const newer = "a newer connection of the same identity is there";
    if (old && old.instance === instance && old.attempt > attempt) {
      return void close(session, "replaced", newer);
    }
    if (old) {
      close(old.session, "replaced", newer);
      this.#leave(old, now);
    }
    if (this.sessions.length === MODEL_BOUNDS.maxSessions) {
      return void close(session, "too-many", "3 clients are connected, which is the most");
    }
    this.sessions.push({ ...input, wanted: undefined, heard: [] });
    for (const tunnel of [...this.tunnels]) {
      if (tunnel[kind] === name && tunnel[`${kind}Instance`] !== instance) {
        this.#end(tunnel, "restarted", kind);
      }
    }
  }

  #leave(session: Session, now: number): void {
    const { kind, name } = session.identity;
    this.sessions = this.sessions.filter((other) => other !== session);
    for (const tunnel of this.tunnels.filter((tunnel) => tunnel[kind] === name)) {
      tunnel[kind === "agent" ? "asked" : "told"] = false;
      tunnel.forgetAt = now + MODEL_BOUNDS.graceMs;
    }
  }

  #request(session: Session, request: RegistryRequest): void {
    const { kind, name } = session.identity;
    if (request.type === "disconnect") {
      const tunnel = this.tunnels.find(({ id }) => id === request.tunnelId);
      if (tunnel && tunnel[kind] === name) this.#end(tunnel, "closed", kind);
    } else if (request.type === "observed") {
      this.#hear(session, { said: request.addresses });
    } else if (request.type === "connect" && kind === "agent") this.#connect(session, request);
    else if (request.type === "review" && kind === "connector") {
      const agents = [...new Set(request.agents)].map((agent) => ({
        agent,
        services: both(this.granted(agent), this.offered(session)),
      }));
      if (agents.length > 0) this.#send(session, { type: "policy", services: null, agents });
    } else if (request.type === "register" && kind === "connector") {
      session.wanted = request.services;
      session.heard.push({ said: request.observed });
      const refused = [...new Set(request.services)].filter((service) =>
        !this.mayOffer(name).includes(service)
      ).sort();
      this.#send(session, { type: "registered", services: this.offered(session), refused });
      const agents = new Map<string, string[]>();
      for (const tunnel of this.tunnels.filter((tunnel) => tunnel.connector === name)) {
        if (this.#refresh(tunnel) && tunnel.told) agents.set(tunnel.agent, tunnel.services);
        if (tunnel.services.length > 0) this.#announce(tunnel, true);
      }
      if (agents.size > 0) {
        const list = [...agents].map(([agent, services]) => ({ agent, services }));
        this.#send(session, { type: "policy", services: null, agents: list });
      }
    }
  }

  /** The other ends of its tunnels are told where a client is seen, when that is news. */
  #hear(session: Session, news: Session["heard"][number]): void {
    const { kind, name } = session.identity;
    const before = seenOf(session);
    session.heard.push(news);
    if (before.join() === seenOf(session).join()) return;
    for (const tunnel of this.tunnels.filter((tunnel) => tunnel[kind] === name)) {
      const other = kind === "agent" ? "connector" : "agent";
      const end = this.#online(other, tunnel[other]);
      if (end) this.#send(end, { type: "seen", tunnelId: tunnel.id, observed: seenOf(session) });
    }
  }

  #connect(session: Session, wanted: ClientMessageOf<"connect">): void {
    const { service, tunnelId, connector, request, resume } = wanted;
    const agent = session.identity.name;
    session.heard.push({ said: wanted.observed });
    const refuse = (reason: Refused, why: string) => {
      const message = `Cannot open flow to "${service}" as ${why}`;
      this.#send(session, { type: "refused", request, reason, message });
    };
    const notGranted = `agent "${agent}" is not granted it`;
    const known = this.tunnels.find(({ id }) => id === tunnelId);
    if (known) {
      if (known.agent !== agent || (connector !== null && connector !== known.connector)) {
        return refuse("tunnel-clash", `tunnel ${tunnelId} is in use`);
      }
      if (!resume && !known.services.includes(service)) {
        return this.granted(agent).includes(service)
          ? refuse("tunnel-clash", `tunnel ${tunnelId} leads to connector "${known.connector}"`)
          : refuse("not-granted", notGranted);
      }
      return this.#grant(session, known, wanted, []);
    }
    const fits = (services: string[]) =>
      resume && connector !== null
        ? both(services, this.granted(agent)).length > 0
        : services.includes(service);
    const named = (name: string) => connector === null || connector === name;
    const names = [...new Set(this.policy.offers.map(([name]) => name))];
    const invited = names.filter((name) => named(name) && fits(this.mayOffer(name)));
    if (resume && connector !== null) {
      if (invited.length === 0) return refuse("not-granted", notGranted);
    } else if (!this.granted(agent).includes(service)) return refuse("not-granted", notGranted);
    if (this.draining) return refuse("draining", "the relay is about to stop");
    if (invited.length === 0) {
      const why = connector === null
        ? "no connector offers it"
        : `connector "${connector}" does not offer it`;
      return refuse("unknown-service", why);
    }
    const load = (name: string) => this.tunnels.filter((it) => it.connector === name).length;
    const order = (list: Session[]) =>
      list.sort((x, y) =>
        load(x.identity.name) - load(y.identity.name) ||
        x.identity.name.localeCompare(y.identity.name)
      );
    const live = order(
      this.sessions.filter((it) => named(it.identity.name) && fits(this.offered(it))),
    );
    if (live.length === 0) {
      const online = invited.find((name) => this.#online("connector", name));
      if (online) return refuse("offline", `connector "${online}" was started without it`);
      const alone = invited.length === 1;
      return refuse(
        "offline",
        alone ? `connector "${invited[0]}" is offline` : "none of its connectors is online",
      );
    }
    if (
      this.tunnels.filter((it) => it.agent === agent).length === MODEL_BOUNDS.maxTunnelsPerAgent
    ) {
      return refuse("too-many", `agent "${agent}" has 2 tunnels, which is the most`);
    }
    if (this.tunnels.length === MODEL_BOUNDS.maxTunnels) {
      return refuse("too-many", "the relay has 3 tunnels, which is the most");
    }
    const to = live[0]!;
    const tunnel: Tunnel = {
      id: tunnelId,
      agent,
      connector: to.identity.name,
      agentInstance: session.instance,
      connectorInstance: to.instance,
      pin: to.identity.pin,
      serverName: to.identity.serverName,
      services: both(this.granted(agent), this.offered(to)),
      asked: true,
      told: false,
      forgetAt: undefined,
    };
    const others = order(
      this.sessions.filter((it) => it !== to && this.offered(it).includes(service)),
    );
    this.tunnels.push(tunnel);
    this.#grant(session, tunnel, wanted, others.map(({ identity }) => identity.name));
  }

  #grant(
    session: Session,
    tunnel: Tunnel,
    { request, resume }: ClientMessageOf<"connect">,
    alternatives: string[],
  ): void {
    tunnel.asked = true;
    this.#announce(tunnel, resume);
    const { id: tunnelId, connector, serverName, pin, services } = tunnel;
    this.#send(session, {
      type: "granted",
      request,
      tunnelId,
      connector,
      serverName,
      pin,
      services,
      alternatives,
      observed: seenOf(this.#online("connector", connector)),
    });
  }

  #announce(tunnel: Tunnel, resume: boolean): void {
    const connector = this.#online("connector", tunnel.connector);
    const agent = this.#online("agent", tunnel.agent);
    if (!connector?.wanted || !agent) return;
    if (!tunnel.told) {
      const { id: tunnelId, services } = tunnel;
      const { name, pin } = agent.identity;
      const observed = seenOf(agent);
      this.#send(connector, {
        type: "incoming",
        tunnelId,
        agent: name,
        pin,
        services,
        resume,
        observed,
      });
    }
    tunnel.told = true;
    if (tunnel.asked) tunnel.forgetAt = undefined;
  }

  /** @returns whether the services changed and some are left */
  #refresh(tunnel: Tunnel): boolean {
    const connector = this.#online("connector", tunnel.connector);
    const offered = connector?.wanted
      ? this.offered(connector)
      : both(tunnel.services, this.mayOffer(tunnel.connector));
    const services = both(this.granted(tunnel.agent), offered);
    if (services.join() === tunnel.services.join()) return false;
    tunnel.services = services;
    if (services.length === 0) this.#end(tunnel, "not-granted");
    return services.length > 0;
  }

  #end(
    tunnel: Tunnel,
    reason: "closed" | "offline" | "restarted" | "revoked" | "not-granted",
    knows?: ClientKind,
  ): void {
    this.tunnels = this.tunnels.filter((other) => other !== tunnel);
    for (const kind of ["agent", "connector"] as const) {
      const session = this.#online(kind, tunnel[kind]);
      if (!session || kind === knows) continue;
      this.#send(session, { type: "disconnected", tunnelId: tunnel.id, reason });
    }
  }

  #send(to: Session, message: Extract<Said, { type: "send" }>["message"]): void {
    // A copy as of now: lists change later.
    this.said.push({ type: "send", session: to.session, message: structuredClone(message) });
  }
}

type Refused =
  | "unknown-service"
  | "not-granted"
  | "offline"
  | "tunnel-clash"
  | "too-many"
  | "draining";

function both(a: readonly string[], b: readonly string[]): string[] {
  return [...new Set(a)].filter((item) => b.includes(item)).sort();
}

/** What it said last, and where it asked from last in a family that it never spoke of. */
function seenOf(session: Session | undefined): string[] {
  const heard = session?.heard ?? [];
  const said = heard.flatMap((one) => "said" in one ? [one.said] : []);
  const isV6 = (address: string) => address.startsWith("[");
  const asked = new Map(
    heard.flatMap((one) => "asked" in one ? [[one.asked.family, one.asked.key]] : []),
  );
  const unspoken = [...asked].filter(([family]) =>
    !said.flat().some((address) => isV6(address) === (family === 6))
  );
  return [...said.at(-1) ?? [], ...unspoken.map(([, address]) => address)];
}
