/**
 * The agent's tunnels: one per connector, opened when a service behind it is wanted.
 * @module
 */
import type { ClientOutput, RelayMessageOf } from "../control/mod.ts";
import { toHex } from "../core/mod.ts";
import { FlowRefused, type TcpFlow } from "../mux/mod.ts";
import { RELAYED_AGENT, RELAYED_CONNECTOR, Tunnel, TunnelEgress } from "../tunnel/mod.ts";
import type { Client } from "./client.ts";

/** A service that somebody waits for. */
interface Wanted {
  readonly service: string;
  readonly tunnel: PromiseWithResolvers<Tunnel>;
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
      if (!tunnel.closed && tunnel.services.includes(service)) {
        await tunnel.ready;
        return tunnel;
      }
    }
    for (const wanted of this.#wanted.values()) {
      if (wanted.service === service) return wanted.tunnel.promise;
    }
    const id = toHex(crypto.getRandomValues(new Uint8Array(8)));
    const tunnel = Promise.withResolvers<Tunnel>();
    tunnel.promise.catch(() => {});
    this.#wanted.set(id, { service, tunnel });
    this.#client.link.tell({ type: "connect", tunnelId: id, service });
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
    const { tunnelId, connector, serverName, pin, services } = grant;
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
    const egress = new TunnelEgress(tunnelId, client.wires);
    const tunnel = Tunnel.create({
      id: tunnelId,
      end: "agent",
      peer: connector,
      egress,
      log: client.log,
      verify: (certificates) =>
        client.verify(certificates, { kind: "connector", name: connector, pin }),
      onOpen: (opened) => {
        client.log.info("tunnel open", {
          connector,
          path: opened.path,
          ms: Math.round(opened.openedMs ?? 0),
        });
        opened.direct?.start();
        this.#wanted.delete(tunnelId);
        wanted.tunnel.resolve(opened);
      },
      onClosed: (closed, reason) => {
        client.log.info("tunnel closed", { connector, reason: reason.text || reason.by });
        this.#tunnels.delete(tunnelId);
        this.#wanted.delete(tunnelId);
        client.detach(tunnelId);
        client.link.tell({ type: "disconnect", tunnelId });
        closed.ready.catch((error) => wanted.tunnel.reject(error));
      },
    }, (handler) =>
      client.endpoint.connect({
        config: client.tunnelConfig,
        egress,
        local: RELAYED_AGENT,
        peer: RELAYED_CONNECTOR,
        serverName,
        handler,
      }));
    tunnel.services = services;
    this.#tunnels.set(tunnelId, tunnel);
    client.attach(tunnel);
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
    wanted?.tunnel.reject(new FlowRefused(refusal, message));
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
