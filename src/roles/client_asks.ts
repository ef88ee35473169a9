/**
 * What a running connector or agent answers over its status socket.
 * @module
 */
import { UserError } from "../core/mod.ts";
import type { Tunnel } from "../tunnel/mod.ts";
import type { Ask, PingAnswer, PingAsk } from "./asks.ts";
import type { Client } from "./client.ts";
import { sleep } from "./joining.ts";
import type { ClientStatus } from "./status.ts";
import type { Answer } from "./status_socket.ts";

/** What answering needs. */
export interface AskContext {
  readonly client: Client;
  readonly status: () => ClientStatus;
  /** Agent: the tunnel to a service, opened where need be. */
  readonly tunnelFor?: (service: string) => Promise<Tunnel>;
}

/** Answers one request. */
export function answerAsk(ask: Ask, signal: AbortSignal, context: AskContext): Answer {
  switch (ask.ask) {
    case "status":
      return context.status();
    case "ping":
      return ping(ask, signal, context);
    case "netcheck":
    case "connect":
      throw new UserError(`Cannot answer "${ask.ask}" yet`);
  }
}

async function* ping(
  ask: PingAsk,
  signal: AbortSignal,
  { tunnelFor, client }: AskContext,
): AsyncGenerator<PingAnswer> {
  if (!tunnelFor) {
    throw new UserError(`Cannot ping "${ask.service}" from a ${client.kind}`, {
      next: "Ping from an agent that is granted the service",
    });
  }
  for (let seq = 1; (ask.count === 0 || seq <= ask.count) && !signal.aborted; seq++) {
    if (seq > 1) await sleep(ask.intervalMs, signal);
    const tunnel = await tunnelFor(ask.service);
    const ms = await tunnel.ping(ask.timeoutMs);
    if (ms === undefined) yield { event: "lost", seq };
    else {
      const { path } = tunnel;
      const remote = path === "direct" ? tunnel.connection.peer : client.link.address;
      yield { event: "echo", seq, ms, path, remote: remote?.key ?? null };
    }
  }
}
