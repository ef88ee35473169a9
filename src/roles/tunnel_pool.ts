/**
 * The agent's tunnels: one per connector, opened when a service behind it is wanted.
 * @module
 */
import type { ClientOutput, RelayMessageOf } from "../control/mod.ts";
import { toBase64Url, toHex } from "../core/mod.ts";
import { FlowRefused, type TcpFlow, type UdpFlow } from "../mux/mod.ts";
import { RELAYED_AGENT, RELAYED_CONNECTOR, Tunnel, TunnelEgress } from "../tunnel/mod.ts";
import { issueTime, type Ticket } from "../zero_rtt/mod.ts";
import type { Client } from "./client.ts";
import { connectorFacts, keepTicket, ticketFor } from "./tunnel_tickets.ts";
import { OPEN_TIMEOUT, TunnelWatch } from "./tunnel_watch.ts";

type Grant = RelayMessageOf<"granted">;

/** A service that somebody waits for. */
interface Wanted {
  readonly service: string;
  /** From an earlier visit to a connector that offers it: the tunnel begins with 0-RTT. */
  readonly ticket: Ticket | undefined;
  /** Resolves when it is open. */
  readonly tunnel: PromiseWithResolvers<Tunnel>;
  /** What the relay answers. */
  readonly grant: PromiseWithResolvers<Grant>;
}

/** See the module's head. */
export class TunnelPool {
  readonly #client: Client;
  /** By id: asked of the relay, not granted yet. */
  readonly #wanted = new Map<string, Wanted>();
  readonly #tunnels = new Map<string, Tunnel>();
  readonly #watch = new TunnelWatch((tunnel) => this.#fellSilent(tunnel));
  /** What this agent may open, as the relay last said; `undefined` before it has. */
  granted: readonly string[] | undefined;

  constructor(client: Client) {
    this.#client = client;
  }

  get tunnels(): Tunnel[] {
    return [...this.#tunnels.values()];
  }

  get flowCount(): number {
    return this.tunnels.reduce((sum, tunnel) => sum + tunnel.mux.unfinished, 0);
  }

  /**
   * Opens a TCP flow to a service.
   *
   * @throws {FlowRefused} saying why not
   */
  async openTcp(service: string, peer: string): Promise<TcpFlow> {
    const tunnel = await this.tunnelFor(service);
    return tunnel.openTcp(service, peer);
  }

  /**
   * Opens a UDP flow to a service.
   *
   * @throws {FlowRefused} saying why not; later refusals close the flow
   */
  async openUdp(service: string, peer: string): Promise<UdpFlow> {
    const tunnel = await this.tunnelFor(service);
    return tunnel.openUdp(service, peer);
  }

  /**
   * The tunnel that leads to a service, opened where need be; open when it resolves.
   *
   * @throws {FlowRefused} saying why not
   */
  async tunnelFor(service: string): Promise<Tunnel> {
    // Whoever comes while this machine wakes up may be here before the clock was looked at: the tunnel of before leads nowhere.
    this.#client.wiring.paths.lookAwake();
    if (this.granted && !this.granted.includes(service)) throw this.#notGranted(service);
    let silent: Tunnel | undefined;
    for (const tunnel of this.#tunnels.values()) {
      if (tunnel.closed || tunnel.peer === "" || !tunnel.services.includes(service)) continue;
      if (this.#watch.isSilent(tunnel)) {
        silent ??= tunnel;
        continue;
      }
      await tunnel.ready;
      return tunnel;
    }
    if (silent) return await this.#insteadOf(silent, service);
    for (const wanted of this.#wanted.values()) {
      if (wanted.service === service) return wanted.tunnel.promise;
    }
    const tunnel = Promise.withResolvers<Tunnel>();
    tunnel.promise.catch(() => {});
    this.#ask(service, tunnel, ticketFor(service, this.#client));
    return tunnel.promise;
  }

  /** A tunnel to another connector, or the silent one where there is none. */
  async #insteadOf(silent: Tunnel, service: string): Promise<Tunnel> {
    const asked = this.#wanted.values().find((wanted) => wanted.service === service)?.tunnel;
    const tunnel = asked ?? Promise.withResolvers<Tunnel>();
    tunnel.promise.catch(() => {});
    if (!asked) this.#ask(service, tunnel, undefined, this.#watch.alternativeTo(silent));
    return await tunnel.promise.catch((error) => {
      if (silent.closed) throw error;
      return silent;
    });
  }

  /** Opened now, so that the next flow need not wait for it. */
  #fellSilent(tunnel: Tunnel): void {
    const [service] = tunnel.services;
    this.#client.log.warn("a connector does not answer; new flows go to another", {
      connector: tunnel.peer,
      other: this.#watch.alternativeTo(tunnel),
    });
    if (service !== undefined) void this.tunnelFor(service).catch(() => {});
  }

  /** The relay may be sent something: what is wanted of it goes now, in its first flight where that is possible. */
  linkUsable(): void {
    if (this.#wanted.size > 0) this.#client.link.sendNow();
    for (const [id, wanted] of this.#wanted) {
      if (!this.#tunnels.has(id)) this.#open(id, wanted);
    }
  }

  #ask(
    service: string,
    tunnel: PromiseWithResolvers<Tunnel>,
    ticket: Ticket | undefined,
    connector: string | null = ticket?.peer.name ?? null,
  ): void {
    const id = toHex(crypto.getRandomValues(new Uint8Array(8)));
    const grant = Promise.withResolvers<Grant>();
    grant.promise.catch(() => {});
    const wanted: Wanted = { service, ticket, tunnel, grant };
    this.#wanted.set(id, wanted);
    this.#client.link.tell({ type: "connect", tunnelId: id, service, connector });
    // Right behind the question: the relay reads the one before it forwards the other, so nobody waits for its answer.
    if (!this.#client.link.usable) return;
    this.#client.link.sendNow();
    this.#open(id, wanted);
  }

  /** What the relay says about tunnels. */
  output(output: ClientOutput): void {
    switch (output.type) {
      case "granted":
        return this.#granted(output.grant, output.resumed);
      case "refused":
        return this.#refused(output.tunnelId, output.service, output.reason, output.message);
      case "disconnected":
        if (!output.final) return;
        this.#tunnels.get(output.tunnelId)?.close(
          output.reason === "restarted" ? "the connector was restarted" : "the relay ended it",
        );
        return;
      case "seen":
        return this.#client.wiring.peerSeen(output.tunnelId, output.observed);
      case "welcome":
        this.granted = output.welcome.services;
        return;
      case "revoked":
        return this.#revoked(output.kind, output.name);
      case "policy":
        if (output.policy.services) this.#setGranted(output.policy.services);
    }
  }

  /** No new flows. */
  drain(graceMs: number): void {
    for (const tunnel of this.tunnels) tunnel.drain(graceMs);
  }

  #granted(grant: RelayMessageOf<"granted">, resumed: boolean): void {
    const { tunnelId, connector, services } = grant;
    const client = this.#client;
    if (resumed) {
      // The relay forwards again: what QUIC waits to send again need not wait for its timer.
      this.#tunnels.get(tunnelId)?.poke();
      return;
    }
    const wanted = this.#wanted.get(tunnelId);
    if (!wanted) {
      const tunnel = this.#tunnels.get(tunnelId);
      // One that began early is open already; the relay has caught up with it.
      if (tunnel?.peer === connector) {
        tunnel.services = services;
        this.#watch.set(tunnel, grant.alternatives);
        // What the relay was not ready to forward it has dropped.
        if (client.link.earlyData === "refused") tunnel.resendFlight();
        client.wiring.peerSeen(tunnelId, grant.observed);
      } else if (tunnel) {
        tunnel.close(`the relay leads to "${connector}" instead of "${tunnel.peer}"`);
      } else client.link.tell({ type: "disconnect", tunnelId });
      return;
    }
    // Asked for twice, as two services were wanted before it was known that one connector has both: the first one serves both.
    // Only one that is just opening: an open one may be what this one is to replace.
    const twin = this.tunnels.find((other) =>
      other.id !== tunnelId && other.peer === connector && !other.closed && !other.isOpen
    );
    if (twin) {
      this.#wanted.delete(tunnelId);
      twin.services = services;
      twin.ready.then(() => wanted.tunnel.resolve(twin), wanted.tunnel.reject);
      wanted.grant.reject(new FlowRefused("target-unreachable", "another tunnel leads there"));
      this.#tunnels.get(tunnelId)?.close("another tunnel leads there");
      client.link.tell({ type: "disconnect", tunnelId });
      return;
    }
    wanted.grant.resolve(grant);
    const tunnel = this.#tunnels.get(tunnelId) ?? this.#open(tunnelId, wanted);
    if (tunnel.peer !== "" && tunnel.peer !== connector) {
      tunnel.close(`the relay leads to "${connector}" instead of "${tunnel.peer}"`);
      return;
    }
    tunnel.peer = connector;
    tunnel.services = services;
    this.#watch.set(tunnel, grant.alternatives);
    const [other] = grant.alternatives;
    if (other !== undefined) {
      setTimeout(() => {
        // The relay has not noticed yet that this connector is gone.
        if (this.#wanted.get(tunnelId) !== wanted || tunnel.isOpen) return;
        this.#wanted.delete(tunnelId);
        tunnel.close("the connector does not answer");
        this.#ask(wanted.service, wanted.tunnel, undefined, other);
      }, OPEN_TIMEOUT);
    }
    client.wiring.peerSeen(tunnelId, grant.observed);
  }

  /** Starts the tunnel's handshake. Who is at the other end is checked when the relay has said who it should be. */
  #open(tunnelId: string, wanted: Wanted): Tunnel {
    const client = this.#client;
    const egress = new TunnelEgress(tunnelId, client.wiring.wires);
    const { rttMs } = client.link.status();
    const { ticket } = wanted;
    const facts = connectorFacts(ticket);
    const tunnel = Tunnel.create({
      id: tunnelId,
      end: "agent",
      peer: ticket?.peer.name ?? "",
      egress,
      log: client.log,
      ...(rttMs === null ? {} : { relayRttMs: rttMs }),
      stamp: {
        nonce: toBase64Url(crypto.getRandomValues(new Uint8Array(16))),
        issuedAt: facts?.clock ? issueTime(facts.clock, client.clock.unix()) : null,
      },
      verify: (certificates) => {
        // With a ticket it is known beforehand who it must be, so that nothing is sent again to another.
        if (facts) {
          const expected = { kind: "connector", name: ticket!.peer.name, pin: facts.pin } as const;
          const refusal = client.verify(certificates, expected);
          // It is not who it was: the next tunnel asks the relay first who it is now.
          if (refusal !== undefined) client.tickets.drop(ticket!.peer);
          return refusal;
        }
        return wanted.grant.promise.then(({ connector, pin }) =>
          client.verify(certificates, { kind: "connector", name: connector, pin })
        );
      },
      onOpen: (opened) => {
        client.log.info("tunnel open", {
          connector: opened.peer,
          path: opened.path,
          ms: Math.round(opened.openedMs ?? 0),
          early: opened.connection.inEarlyData,
        });
        opened.direct?.start();
        this.#wanted.delete(tunnelId);
        wanted.tunnel.resolve(opened);
      },
      onWelcome: (opened, welcome) => keepTicket(opened, welcome, client),
      onClosed: (closed, reason) => {
        const connector = closed.peer;
        client.log.info("tunnel closed", { connector, reason: reason.text || reason.by });
        this.#tunnels.delete(tunnelId);
        this.#watch.forget(closed);
        client.wiring.detach(tunnelId);
        if (this.#wanted.delete(tunnelId)) {
          closed.ready.catch((error) => wanted.tunnel.reject(error));
        }
        client.link.tell({ type: "disconnect", tunnelId });
      },
    }, (handler) =>
      client.endpoint.connect({
        config: client.tunnelConfig,
        egress,
        local: RELAYED_AGENT,
        peer: RELAYED_CONNECTOR,
        handler,
        ...(ticket ? { session: ticket.session } : {}),
      }));
    if (facts) {
      tunnel.services = facts.services;
      tunnel.noEarlyServices = facts.noEarlyServices;
    }
    this.#tunnels.set(tunnelId, tunnel);
    client.wiring.attach(tunnel);
    if (ticket) {
      tunnel.startEarly();
      client.endpoint.sendNow(tunnel.connection);
    }
    return tunnel;
  }

  #refused(tunnelId: string, service: string, reason: string, message: string): void {
    const wanted = this.#wanted.get(tunnelId);
    this.#wanted.delete(tunnelId);
    const refusal =
      reason === "not-granted" || reason === "unknown-service" || reason === "too-many"
        ? reason
        : reason === "timeout"
        ? "target-timeout"
        : "target-unreachable";
    this.#client.log.debug("tunnel refused", { service, reason });
    const begun = this.#tunnels.get(tunnelId);
    const isAway = reason === "offline" || reason === "unknown-service";
    // With a ticket it may be open already: then nobody waits for it any more, and what it carried is lost.
    if (isAway && (wanted ? wanted.ticket : begun)) {
      // The connector of last time is not there; another may offer the service. It may be back soon, and its ticket is good then.
      begun?.close("the connector is not there");
      const peer = wanted?.ticket?.peer ?? (begun && ticketFor(service, this.#client)?.peer);
      if (peer && reason !== "offline") this.#client.tickets.drop(peer);
      const tunnel = wanted?.tunnel ?? Promise.withResolvers<Tunnel>();
      tunnel.promise.catch(() => {});
      this.#ask(service, tunnel, undefined);
      return;
    }
    const refused = new FlowRefused(refusal, message);
    wanted?.tunnel.reject(refused);
    wanted?.grant.reject(refused);
    this.#tunnels.get(tunnelId)?.close(message.slice(0, 200));
  }

  /** The relay forwards nothing for them any more, so the other end cannot say that it has ended the tunnel. */
  #revoked(kind: string, name: string): void {
    const { log } = this.#client;
    if (kind === "connector") log.warn("a connector was revoked", { connector: name });
    for (const tunnel of this.tunnels) {
      if (kind === "agent" && name === this.#client.name) tunnel.close("this agent was revoked");
      else if (kind === "connector" && name === tunnel.peer) tunnel.close("it was revoked");
    }
  }

  #setGranted(services: readonly string[]): void {
    this.granted = services;
    for (const tunnel of this.#tunnels.values()) {
      tunnel.services = tunnel.services.filter((service) => services.includes(service));
      tunnel.mux.abortFlows((flow) => !services.includes(flow.info.service));
    }
  }

  #notGranted(service: string): FlowRefused {
    return new FlowRefused(
      "not-granted",
      `Cannot open flow to "${service}" as agent "${this.#client.name}" is not granted it`,
    );
  }
}
