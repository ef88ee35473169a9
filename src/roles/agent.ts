/**
 * The agent: runs on the user's machine and opens local ports that lead to services by name.
 * @module
 */
import * as v from "valibot";
import type { ClientOutput } from "../control/mod.ts";
import { formatHostPort, type HostPort, messageOf, parseHostPort, UserError } from "../core/mod.ts";
import { loadSettings, saveSettings } from "../identity/mod.ts";
import { NameSchema } from "../identity/schemas.ts";
import { listenForward } from "../ingress/forward.ts";
import { Client, DRAIN_MS } from "./client.ts";
import { answerAsk } from "./client_asks.ts";
import { sleep } from "./joining.ts";
import type { AgentOptions, ServiceAddress } from "./options.ts";
import { serveStatus } from "./status_socket.ts";
import { TunnelPool } from "./tunnel_pool.ts";

const SettingsSchema = v.object({
  forwards: v.pipe(
    v.array(v.object({
      service: NameSchema,
      protocol: v.picklist(["tcp", "udp"]),
      address: v.string(),
    })),
    v.maxLength(256),
  ),
  socks: v.nullish(v.string()),
  httpProxy: v.nullish(v.string()),
});

/** What an agent opens locally. */
interface Entrances {
  readonly forwards: readonly ServiceAddress[];
  readonly socks: HostPort | undefined;
  readonly httpProxy: HostPort | undefined;
}

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
    const entrances = await rememberEntrances(client, options);
    const pool = new TunnelPool(client);
    const open = { openTcp: (service: string, peer: string) => pool.openTcp(service, peer) };
    const listeners = entrances.forwards.map(({ service, address }) => ({
      service,
      listener: listenForward({ service, at: address, open, log, signal: stopListening.signal }),
    }));
    const endpoints = listeners.map(({ service, listener }) =>
      `${service}=${formatHostPort(listener.address)}`
    );
    let saidReady = false;
    cell.output = (output) => {
      pool.output(output);
      if (output.type === "revoked") {
        log.error("this agent was revoked", { next: "Have it invited again at the relay" });
      }
      if (output.type !== "welcome" || saidReady) return;
      saidReady = true;
      say(`agent "${client.name}" ready: ${endpoints.join(", ") || "no local ports"}`);
      const first = listeners[0];
      if (first) say(`next: curl http://${formatHostPort(first.listener.address)}/`);
      for (const { service } of listeners) {
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
          tunnelFor: (service) => pool.tunnelFor(service),
          status: () =>
            client.status({
              services: [...pool.granted ?? []],
              endpoints,
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

/** What was given on the command line, kept for the next start; or what was kept. */
async function rememberEntrances({ folder }: Client, options: AgentOptions): Promise<Entrances> {
  const { forwards, socks, httpProxy } = options;
  if (forwards.length > 0 || socks || httpProxy) {
    await saveSettings(folder, {
      forwards: forwards.map((forward) => ({
        ...forward,
        address: formatHostPort(forward.address),
      })),
      socks: socks ? formatHostPort(socks) : null,
      httpProxy: httpProxy ? formatHostPort(httpProxy) : null,
    });
    return { forwards, socks, httpProxy };
  }
  const kept = await loadSettings(folder, SettingsSchema);
  if (!kept) {
    throw new UserError("Cannot start agent as it is not told which services to open where", {
      next: "postern agent SERVICE=PORT",
    });
  }
  return {
    forwards: kept.forwards.map((forward) => ({
      ...forward,
      address: parseHostPort(forward.address),
    })),
    socks: kept.socks ? parseHostPort(kept.socks) : undefined,
    httpProxy: kept.httpProxy ? parseHostPort(kept.httpProxy) : undefined,
  };
}
