/**
 * The connector: sits beside private services, offers them by name, and carries granted flows to them. Dials out only.
 * @module
 */
import type { ClientOutput, RelayMessageOf } from "../control/mod.ts";
import { formatHostPort } from "../core/mod.ts";
import { FlowRefused, type FlowRequest } from "../mux/mod.ts";
import { type ConnectionHandler, describeClose } from "../quic/mod.ts";
import { RELAYED_AGENT, RELAYED_CONNECTOR, Tunnel, TunnelEgress } from "../tunnel/mod.ts";
import { type AdminServer, openAdmin } from "./admin.ts";
import { Client, DRAIN_MS } from "./client.ts";
import { answerAsk } from "./client_asks.ts";
import { clientMetrics, relayAway } from "./client_metrics.ts";
import type { ConnectorOptions, ServiceAddress } from "./options.ts";
import { type Offers, rememberOffers } from "./remembered.ts";
import { serveStatus } from "./status_socket.ts";
import { dialTarget } from "./target.ts";
import { openUdpTarget } from "./udp_target.ts";
import { untilAborted, untilIdle } from "./waiting.ts";

/** A tunnel that the relay has announced: its agent, and what that agent may open. */
interface Announced {
  readonly agent: string;
  readonly pin: string;
  services: readonly string[];
  /** Where the relay sees the agent's P2P socket; it may say so before the agent's first packet is here. */
  observed: readonly string[];
  tunnel: Tunnel | undefined;
}

/** Tunnels that may be announced at a time; the relay's own bound per agent is far lower. */
const MAX_TUNNELS = 4096;

class Connector {
  readonly #options: ConnectorOptions;
  readonly #services: ReadonlyMap<string, ServiceAddress>;
  /** Those whose flows wait for the handshake. */
  readonly #noEarly: ReadonlySet<string>;
  readonly #tunnels = new Map<string, Announced>();
  #client!: Client;
  #saidReady = false;

  constructor(options: ConnectorOptions, { services, noEarlyDataFor }: Offers) {
    this.#options = options;
    this.#noEarly = new Set(noEarlyDataFor);
    this.#services = new Map(services.map((service) => [service.service, service]));
  }

  async run(client: Client, admin: AdminServer | undefined): Promise<void> {
    this.#client = client;
    const { signal, log } = this.#options;
    const status = await serveStatus({
      state: this.#options.state,
      answer: (ask, asking) => answerAsk(ask, asking, { client, status: () => this.#status() }),
      signal,
    });
    admin?.serve({
      whyNotReady: () => this.#whyNotReady(),
      metrics: () => clientMetrics(client),
    });
    this.#register();
    client.link.start();
    this.#options.watchGrowth?.(() => this.#flowCount());
    await untilAborted(signal);
    log.info("draining", { flows: this.#flowCount(), ms: DRAIN_MS });
    for (const { tunnel } of this.#tunnels.values()) tunnel?.drain(DRAIN_MS);
    await untilIdle(() => this.#flowCount(), DRAIN_MS);
    await client.close("the connector is stopping");
    await status.finished;
  }

  /** What the relay says. */
  output(output: ClientOutput): void {
    switch (output.type) {
      case "seen":
        return this.#seen(output.tunnelId, output.observed);
      case "registered":
        return this.#registered(output.services, output.refused);
      case "incoming":
        return this.#incoming(output.incoming);
      case "policy":
        for (const { agent, services } of output.policy.agents) this.#setGrants(agent, services);
        return;
      case "revoked":
        return this.#revoked(output.kind, output.name);
      case "disconnected":
        if (output.final) this.#tunnels.get(output.tunnelId)?.tunnel?.close("the relay ended it");
        return;
    }
  }

  #register(): void {
    this.#client.link.tell({
      type: "register",
      services: [...this.#services.keys()],
      agents: [...new Set([...this.#tunnels.values()].map(({ agent }) => agent))],
    });
  }

  #registered(services: string[], refused: string[]): void {
    const { log, say } = this.#options;
    for (const service of refused) {
      log.warn(`Cannot offer "${service}" as this connector was not invited to offer it`, {
        next: `at the relay: postern grant connector ${this.#client.name} ${service}`,
      });
    }
    if (this.#saidReady || services.length === 0) return;
    this.#saidReady = true;
    const offers = services.map((name) => {
      const target = this.#services.get(name);
      return target ? `${name} (${formatHostPort(target.address)})` : name;
    });
    say(`connector "${this.#client.name}" ready: offers ${offers.join(", ")}`);
    say(`next, at the relay: postern invite agent NAME --allow ${services[0]}`);
    this.#client.rehearse(0, () => this.#tunnels.size === 0);
  }

  #incoming(incoming: RelayMessageOf<"incoming">): void {
    const { tunnelId, agent, pin, services, resume, observed } = incoming;
    const known = this.#tunnels.get(tunnelId);
    if (known) {
      known.services = services;
      known.tunnel?.poke();
      return;
    }
    if (resume || this.#tunnels.size >= MAX_TUNNELS) {
      // We are a new process, and its agent does not know yet; or there is no room.
      this.#client.link.tell({ type: "disconnect", tunnelId });
      return;
    }
    const announced: Announced = { agent, pin, services, observed, tunnel: undefined };
    this.#tunnels.set(tunnelId, announced);
    this.#client.log.debug("tunnel announced", { agent, tunnel: tunnelId });
    this.#client.wiring.router.add(
      tunnelId,
      (packet) => this.#firstPacket(tunnelId, announced, packet),
    );
    // The first packet may have been here before the announcement, and be taken by now.
    if (announced.tunnel) this.#client.endpoint.batchEnd();
    else this.#client.wiring.peerSeen(tunnelId, observed);
    // An agent that never comes must not stay in the table.
    setTimeout(() => {
      if (!announced.tunnel && this.#tunnels.get(tunnelId) === announced) this.#forget(tunnelId);
    }, 30_000);
  }

  #seen(tunnelId: string, observed: readonly string[]): void {
    const announced = this.#tunnels.get(tunnelId);
    if (announced) announced.observed = observed;
    this.#client.wiring.peerSeen(tunnelId, observed);
  }

  /** The agent's first packet: from now on the tunnel exists. */
  #firstPacket(tunnelId: string, announced: Announced, packet: Uint8Array): void {
    const client = this.#client;
    const { agent, pin } = announced;
    const egress = new TunnelEgress(tunnelId, client.wiring.wires);
    const { rttMs } = client.link.status();
    client.endpoint.accept(packet, RELAYED_AGENT, RELAYED_CONNECTOR, {
      config: client.tunnelConfig,
      egress,
      handler: (connection) => {
        let handler: ConnectionHandler = {};
        const tunnel = Tunnel.create({
          id: tunnelId,
          end: "connector",
          peer: agent,
          egress,
          log: client.log,
          ...(rttMs === null ? {} : { relayRttMs: rttMs }),
          verify: (certificates) =>
            client.verify(certificates, { kind: "agent", name: agent, pin }),
          judge: (stamp) => {
            const decision = client.gate.judge({ identity: `agent:${agent}`, ...stamp });
            if (decision.act !== "now") {
              client.log.debug("early data waits for the handshake", {
                agent,
                reason: decision.reason,
              });
            }
            return decision.act === "now";
          },
          welcome: () => ({
            now: Math.floor(client.gate.now()),
            noEarlyServices: announced.services.filter((name) => this.#noEarly.has(name)),
          }),
          accept: (request) => this.#accept(announced, request, dialTarget),
          acceptUdp: (request) => this.#accept(announced, request, openUdpTarget),
          onOpen: (opened) => {
            client.log.info("tunnel open", { agent, ms: Math.round(opened.openedMs ?? 0) });
            opened.direct?.start();
          },
          onClosed: (_tunnel, reason) => {
            client.log.info("tunnel closed", { agent, reason: describeClose(reason) });
            this.#forget(tunnelId);
          },
        }, (made) => {
          handler = made;
          return connection;
        });
        tunnel.services = announced.services;
        announced.tunnel = tunnel;
        client.wiring.attach(tunnel);
        client.wiring.peerSeen(tunnelId, announced.observed);
        return handler;
      },
    });
  }

  /** The agent's certificate was checked when the tunnel opened; here it is what that agent may do. */
  async #accept<T>(
    announced: Announced,
    { service, kind }: FlowRequest,
    dial: (target: ServiceAddress) => Promise<T>,
  ): Promise<T> {
    const { agent, tunnel } = announced;
    if (this.#noEarly.has(service) && tunnel && !tunnel.connection.established) {
      this.#client.log.debug("early flow waits for the handshake", { service, agent });
      await tunnel.proven;
    }
    const target = this.#services.get(service);
    if (!announced.services.includes(service)) {
      this.#client.log.warn("flow refused", { service, agent, reason: "not granted" });
      throw new FlowRefused(
        "not-granted",
        `Cannot open flow to "${service}" as agent "${agent}" is not granted it`,
      );
    }
    if (!target) {
      throw new FlowRefused(
        "unknown-service",
        `Cannot open flow to "${service}" as connector "${this.#client.name}" does not offer it`,
      );
    }
    if (target.protocol !== kind) {
      throw new FlowRefused(
        "wrong-kind",
        `Cannot open ${kind} flow to "${service}" as it is a ${target.protocol} service`,
      );
    }
    try {
      return await dial(target);
    } catch (error) {
      if (error instanceof FlowRefused) {
        this.#client.log.warn("flow refused", { service, agent, reason: error.message });
      }
      throw error;
    }
  }

  /** Grants changed: flows that are not allowed any more end now. */
  #setGrants(agent: string, services: readonly string[]): void {
    for (const announced of this.#tunnels.values()) {
      if (announced.agent !== agent) continue;
      announced.services = services;
      if (announced.tunnel) announced.tunnel.services = services;
      announced.tunnel?.mux.abortFlows((flow) => !services.includes(flow.info.service));
    }
  }

  #revoked(kind: string, name: string): void {
    if (kind === "connector" && name === this.#client.name) {
      this.#client.log.error("this connector was revoked", {
        next: "Have it invited again at the relay",
      });
      for (const { tunnel } of this.#tunnels.values()) tunnel?.close("the connector was revoked");
      return;
    }
    for (const { agent, tunnel } of this.#tunnels.values()) {
      if (kind === "agent" && agent === name) tunnel?.close("the agent was revoked");
    }
  }

  #forget(tunnelId: string): void {
    if (!this.#tunnels.delete(tunnelId)) return;
    this.#client.wiring.detach(tunnelId);
    this.#client.link.tell({ type: "disconnect", tunnelId });
    this.#register();
  }

  #whyNotReady(): string | undefined {
    if (this.#options.signal.aborted) return "draining";
    if (!this.#client.link.connected) return relayAway(this.#client);
    return this.#saidReady ? undefined : "the relay lets this connector offer nothing";
  }

  #flowCount(): number {
    let sum = 0;
    for (const { tunnel } of this.#tunnels.values()) sum += tunnel?.mux.unfinished ?? 0;
    return sum;
  }

  #status() {
    const tunnels = [...this.#tunnels.values()].flatMap(({ tunnel }) => tunnel ? [tunnel] : []);
    return this.#client.status({
      services: [...this.#services.keys()],
      endpoints: [...this.#services.values()].map(({ service, protocol, address }) =>
        `${service}=${protocol}://${formatHostPort(address)}`
      ),
      tunnels,
    });
  }
}

/**
 * Runs a connector until its signal is aborted.
 *
 * @throws {UserError} where it cannot start or the relay refuses it for good
 */
export async function runConnector(options: ConnectorOptions): Promise<void> {
  const admin = openAdmin(options);
  try {
    await run(options, admin);
  } finally {
    await admin?.close();
  }
}

async function run(options: ConnectorOptions, admin: AdminServer | undefined): Promise<void> {
  const cell: { connector?: Connector } = {};
  const client = await Client.open("connector", options, (output) => {
    cell.connector?.output(output);
  });
  let offers: Offers;
  try {
    const { services, noEarlyDataFor = [] } = options;
    offers = await rememberOffers(client.folder, { services, noEarlyDataFor });
  } catch (error) {
    await client.close("cannot start");
    throw error;
  }
  cell.connector = new Connector(options, offers);
  await cell.connector.run(client, admin);
}
