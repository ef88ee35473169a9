/**
 * The agent: runs on the user's machine and opens local ports that lead to services by name.
 * @module
 */
import type { ClientOutput } from "../control/mod.ts";
import { messageOf } from "../core/mod.ts";
import { Client, DRAIN_MS } from "./client.ts";
import { answerAsk } from "./client_asks.ts";
import { openEntrances } from "./entrances.ts";
import { sleep } from "./joining.ts";
import type { AgentOptions } from "./options.ts";
import { rememberEntrances } from "./remembered.ts";
import { serveStatus } from "./status_socket.ts";
import { TunnelPool } from "./tunnel_pool.ts";

/**
 * Runs an agent until its signal is aborted.
 *
 * @throws {UserError} where it cannot start or the relay refuses it for good
 */
export async function runAgent(options: AgentOptions): Promise<void> {
  const { log, say, signal } = options;
  const cell: { output?: (output: ClientOutput) => void } = {};
  const client = await Client.open("agent", options, (output) => cell.output?.(output));
  const stopListening = new AbortController();
  try {
    const entrances = options.transient
      ? { forwards: [] }
      : await rememberEntrances(client.folder, options);
    const pool = new TunnelPool(client);
    const { endpoints, services, example } = openEntrances(entrances, {
      open: { openTcp: (service, peer) => pool.openTcp(service, peer) },
      log,
      signal: stopListening.signal,
    });
    let saidReady = false;
    cell.output = (output) => {
      pool.output(output);
      if (output.type === "revoked") {
        log.error("this agent was revoked", { next: "Have it invited again at the relay" });
      }
      if (output.type !== "welcome" || saidReady) return;
      saidReady = true;
      say(`agent "${client.name}" ready: ${endpoints.join(", ") || "no local ports"}`);
      if (example) say(`next: ${example}`);
      for (const service of services) {
        if (!output.welcome.services.includes(service)) {
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
    };
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
              endpoints: [...endpoints],
              tunnels: pool.tunnels,
            }),
        }),
    });
    client.link.start();
    await sleep(2 ** 31 - 1, signal);
    stopListening.abort();
    log.info("draining", { flows: pool.flowCount, ms: DRAIN_MS });
    pool.drain(DRAIN_MS);
    const until = performance.now() + DRAIN_MS;
    while (pool.flowCount > 0 && performance.now() < until) {
      await sleep(50, new AbortController().signal);
    }
    await client.close("the agent is stopping");
    await status.finished;
  } catch (error) {
    stopListening.abort();
    await client.close("cannot start");
    throw error;
  }
}
