/**
 * What a running connector or agent answers over its status socket.
 * @module
 */
import { UserError } from "../core/mod.ts";
import type { TcpFlow } from "../mux/mod.ts";
import type { Tunnel } from "../tunnel/mod.ts";
import type { Ask, ForgetAnswer, ForgetAsk } from "./asks.ts";
import type { Client } from "./client.ts";
import { connectAsk } from "./connect_ask.ts";
import { netcheckAsk } from "./netcheck_ask.ts";
import { pingAsk, refusePing } from "./ping_ask.ts";
import { explainRelayed } from "./relayed_reason.ts";
import type { ClientStatus } from "./status.ts";
import type { Answer } from "./status_socket.ts";

/** What an agent can do that a connector cannot. */
export interface AgentSide {
  /** The tunnel to a service, opened where need be. @throws {FlowRefused} */
  tunnelFor(service: string): Promise<Tunnel>;
  /** A TCP flow to a service. @throws {FlowRefused} */
  openTcp(service: string, peer: string): Promise<TcpFlow>;
}

/** What answering needs. */
export interface AskContext {
  readonly client: Client;
  readonly status: () => ClientStatus;
  readonly agent?: AgentSide;
}

/** Answers one request. */
export function answerAsk(ask: Ask, signal: AbortSignal, context: AskContext): Answer {
  const { client, agent } = context;
  switch (ask.ask) {
    case "status":
      return context.status();
    case "ping":
      if (!agent) return refusePing(client.kind, ask.service);
      return pingAsk(ask, signal, {
        tunnelFor: (service) => agent.tunnelFor(service),
        remoteOf: (tunnel) =>
          (tunnel.path === "direct" ? tunnel.connection.peer : client.link.address)?.key ?? null,
        whyRelayed: (tunnel) => explainRelayed(tunnel, client.wiring.paths),
      });
    case "connect":
      if (!agent) {
        throw new UserError(`Cannot connect to "${ask.service}" from a ${client.kind}`, {
          next: "Connect where an agent is granted the service",
        });
      }
      return connectAsk(ask, signal, (service, peer) => agent.openTcp(service, peer));
    case "forget":
      return forget(client, ask);
    case "netcheck":
      return netcheckAsk({
        clock: client.clock,
        signal,
        link: client.link.status(),
        // A relay that is away answers nobody: that says nothing about the network.
        observers: client.link.connected ? client.wiring.observers : undefined,
        paths: client.wiring.paths,
        noDirect: client.noDirect,
        p2pPort: client.sockets.p2p.local.port,
      });
  }
}

/** Answers when it is on the disk. */
async function forget(client: Client, { kind, name }: ForgetAsk): Promise<ForgetAnswer> {
  const { knownKeys, tickets, identity: { networkId } } = client;
  const forgotten = knownKeys.forget({ kind, name });
  // A ticket names the key that it was given by.
  if (kind === "connector") tickets.drop({ kind, name, networkId });
  await Promise.all([knownKeys.flush(), tickets.flush()]);
  return { forgotten };
}
