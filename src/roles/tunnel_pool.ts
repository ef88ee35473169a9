/**
 * The agent's tunnels: one per connector, opened when a service behind it is wanted.
 * @module
 */
import type { ClientOutput, RelayMessageOf } from "../control/mod.ts";
import { toHex } from "../core/mod.ts";
import { FlowRefused, type TcpFlow } from "../mux/mod.ts";
import { describeClose } from "../quic/mod.ts";
import { RELAYED_AGENT, RELAYED_CONNECTOR, Tunnel, TunnelEgress } from "../tunnel/mod.ts";
import type { Client } from "./client.ts";

type Grant = RelayMessageOf<"granted">;

/** A service that somebody waits for. */
interface Wanted {
  readonly service: string;
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
  /** What this agent may open, as the relay last said; `undefined` before it has. */
  granted: readonly string[] | undefined;

  constructor(client: Client) {
    this.#client = client;
  }

  get tunnels(): Tunnel[] {
    return [...this.#tunnels.values()];
  }

  get flowCount(): number {
    return this.tunnels.reduce((sum, tunnel) => sum + tunnel.mux.flows.size, 0);
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
   * The tunnel that leads to a service, opened where need be; open when it resolves.
   *
   * @throws {FlowRefused} saying why not
   */
  async tunnelFor(service: string): Promise<Tunnel> {
    if (this.granted && !this.granted.includes(service)) throw this.#notGranted(service);
    for (const tunnel of this.#tunnels.values()) {
      if (!tunnel.closed && tunnel.peer !== "" && tunnel.services.includes(service)) {
        await tunnel.ready;
        return tunnel;
      }
    }
    for (const wanted of this.#wanted.values()) {
      if (wanted.service === service) return wanted.tunnel.promise;
    }
    const id = toHex(crypto.getRandomValues(new Uint8Array(8)));
    const tunnel = Promise.withResolvers<Tunnel>();
    const grant = Promise.withResolvers<Grant>();
    tunnel.promise.catch(() => {});
    grant.promise.catch(() => {});
    const wanted: Wanted = { service, tunnel, grant };
    this.#wanted.set(id, wanted);
    this.#client.link.tell({ type: "connect", tunnelId: id, service });
    // Right behind the question: the relay reads the one before it forwards the other, so nobody waits for its answer.
    if (this.#client.link.connected) this.#open(id, wanted);
    return tunnel.promise;
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
        return this.#client.peerSeen(output.tunnelId, output.observed);
      case "welcome":
        this.#client.observe(output.welcome);
        this.granted = output.welcome.services;
        return;
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
      client.link.tell({ type: "disconnect", tunnelId });
      return;
    }
    wanted.grant.resolve(grant);
    const tunnel = this.#tunnels.get(tunnelId) ?? this.#open(tunnelId, wanted);
    tunnel.peer = connector;
    tunnel.services = services;
    client.peerSeen(tunnelId, grant.observed);
  }

  /** Starts the tunnel's handshake. Who is at the other end is checked when the relay has said who it should be. */
  #open(tunnelId: string, wanted: Wanted): Tunnel {
    const client = this.#client;
    const egress = new TunnelEgress(tunnelId, client.wires);
    const { rttMs } = client.link.status();
    const tunnel = Tunnel.create({
      id: tunnelId,
      end: "agent",
      peer: "",
      egress,
      log: client.log,
      ...(rttMs === null ? {} : { relayRttMs: rttMs }),
      verify: async (certificates) => {
        const { connector, pin } = await wanted.grant.promise;
        return client.verify(certificates, { kind: "connector", name: connector, pin });
      },
      onOpen: (opened) => {
        client.log.info("tunnel open", {
          connector: opened.peer,
          path: opened.path,
          ms: Math.round(opened.openedMs ?? 0),
        });
        opened.direct?.start();
        this.#wanted.delete(tunnelId);
        wanted.tunnel.resolve(opened);
      },
      onClosed: (closed, reason) => {
        const connector = closed.peer;
        client.log.info("tunnel closed", { connector, reason: describeClose(reason) });
        this.#tunnels.delete(tunnelId);
        client.detach(tunnelId);
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
      }));
    this.#tunnels.set(tunnelId, tunnel);
    client.attach(tunnel);
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
    const refused = new FlowRefused(refusal, message);
    wanted?.tunnel.reject(refused);
    wanted?.grant.reject(refused);
    this.#tunnels.get(tunnelId)?.close(message.slice(0, 200));
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
