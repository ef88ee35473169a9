/**
 * The agent: runs on the user's machine and opens local ports that lead to services by name.
 * @module
 */
import type { ClientOutput, RelayMessageOf } from "../control/mod.ts";
import { messageOf } from "../core/mod.ts";
import { type AdminServer, openAdmin } from "./admin.ts";
import { Client, DRAIN_MS } from "./client.ts";
import { answerAsk } from "./client_asks.ts";
import { clientMetrics, relayAway } from "./client_metrics.ts";
import { type OpenEntrances, openEntrances } from "./entrances.ts";
import type { AgentOptions } from "./options.ts";
import { rememberEntrances } from "./remembered.ts";
import { serveStatus } from "./status_socket.ts";
import { TunnelPool } from "./tunnel_pool.ts";
import { untilAborted, untilIdle } from "./waiting.ts";

/**
 * Runs an agent until its signal is aborted.
 *
 * @throws {UserError} where it cannot start or the relay refuses it for good
 */
export async function runAgent(options: AgentOptions): Promise<void> {
  const admin = openAdmin(options);
  try {
    await run(options, admin);
  } finally {
    await admin?.close();
  }
}

/** Without a tunnel for this long after its start, in milliseconds, an agent has time to get ready for its first one. */
const IDLE_MS = 500;

async function run(options: AgentOptions, admin: AdminServer | undefined): Promise<void> {
  const { log, say, signal } = options;
  const cell: { output?: (output: ClientOutput) => void } = {};
  const client = await Client.open("agent", options, (output) => cell.output?.(output));
  const stopListening = new AbortController();
  try {
    const entrances = options.transient
      ? { forwards: [] }
      : await rememberEntrances(client.folder, options);
    const pool = new TunnelPool(client);
    const services = entrances.forwards.map(({ service }) => service);
    client.onUsable = () => {
      // Opened now, so that the first connection need not wait for it; with tickets, in the very first flight.
      if (!client.link.connected) {
        for (const service of services) pool.tunnelFor(service).catch(() => {});
      }
      pool.linkUsable();
    };
    const entry: { open?: OpenEntrances } = {};
    let welcome: RelayMessageOf<"welcome"> | undefined;
    let saidReady = false;
    const greet = () => {
      if (!entry.open || !welcome || saidReady) return;
      saidReady = true;
      const { endpoints, example } = entry.open;
      say(`agent "${client.name}" ready: ${endpoints.join(", ") || "no local ports"}`);
      if (example) say(`next: ${example}`);
      for (const service of services) {
        if (!welcome.services.includes(service)) {
          log.warn(`Cannot reach "${service}" as agent "${client.name}" is not granted it`, {
            next: `at the relay: postern grant ${client.name} ${service}`,
          });
          continue;
        }
        // Opened now, so that the first connection need not wait for it.
        pool.tunnelFor(service).catch((error) =>
          log.warn("service is out of reach", { service, reason: messageOf(error) })
        );
      }
      client.rehearse(IDLE_MS, () => pool.tunnels.length === 0);
    };
    cell.output = (output) => {
      pool.output(output);
      if (output.type === "revoked" && output.kind === "agent" && output.name === client.name) {
        log.error("this agent was revoked", { next: "Have it invited again at the relay" });
      }
      if (output.type !== "welcome") return;
      welcome = output.welcome;
      greet();
    };
    client.link.start();
    // The first flight leaves before anybody is let in: whoever asks then is a few milliseconds nearer to the answer.
    await new Promise((resolve) => setTimeout(resolve));
    entry.open = openEntrances(entrances, {
      open: {
        openTcp: (service, peer) => pool.openTcp(service, peer),
        openUdp: (service, peer) => pool.openUdp(service, peer),
      },
      log,
      signal: stopListening.signal,
    });
    // Whoever has waited for that is let in before all the rest.
    await new Promise((resolve) => setTimeout(resolve));
    greet();
    const status = await serveStatus({
      state: options.state,
      signal,
      answer: (ask, asking) =>
        answerAsk(ask, asking, {
          client,
          agent: pool,
          status: () =>
            client.status({
              services: [...pool.granted ?? []],
              endpoints: [...entry.open?.endpoints ?? []],
              tunnels: pool.tunnels,
            }),
        }),
    });
    admin?.serve({
      whyNotReady: () => whyNotReady(client, pool),
      metrics: () => clientMetrics(client),
    });
    if (!options.transient) options.watchGrowth?.(() => pool.flowCount);
    await untilAborted(signal);
    stopListening.abort();
    log.info("draining", { flows: pool.flowCount, ms: DRAIN_MS });
    pool.drain(DRAIN_MS);
    await untilIdle(() => pool.flowCount, DRAIN_MS);
    await client.close("the agent is stopping");
    await status.finished;
  } catch (error) {
    stopListening.abort();
    await client.close("cannot start");
    throw error;
  }
}

/** Flows can be opened where the relay answers, or a tunnel is there already. */
function whyNotReady(client: Client, pool: TunnelPool): string | undefined {
  if (client.signal.aborted) return "draining";
  if (client.link.connected || pool.tunnels.some(({ isOpen }) => isOpen)) return undefined;
  return relayAway(client);
}
