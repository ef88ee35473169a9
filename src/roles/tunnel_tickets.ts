/**
 * What an agent keeps of its connectors, so that the next tunnel to one begins with 0-RTT.
 * @module
 */
import { parsePeerCertificate, serverNameOf } from "../identity/mod.ts";
import type { Tunnel, TunnelWelcome } from "../tunnel/mod.ts";
import { type ConnectorFacts, decideSend, learnOffset, type Ticket } from "../zero_rtt/mod.ts";
import type { Client } from "./client.ts";

/** When to look for the connector's ticket after its welcome, in milliseconds: it comes in the same flight or a later one. */
const TICKET_DELAYS = [0, 30, 150, 1_000];

/** What a ticket tells of its connector. */
export function connectorFacts(ticket: Ticket | undefined): ConnectorFacts | undefined {
  return ticket?.facts.kind === "connector" ? ticket.facts : undefined;
}

/** The newest ticket of a connector that offered the service; `undefined`: everything waits for the handshake. */
export function ticketFor(service: string, client: Client): Ticket | undefined {
  const { earlyData, tickets, identity } = client;
  const ticket = earlyData ? tickets.connectorFor(service, identity.networkId) : undefined;
  const facts = connectorFacts(ticket);
  const decision = decideSend({
    enabled: earlyData,
    ticket: ticket ? "good" : "none",
    clockKnown: facts?.clock != null,
    // Then the tunnel begins early all the same, and holds its flows back itself.
    service: facts?.noEarlyServices.includes(service) ? "opted-out" : "allows",
  });
  return decision.send === "wait" ? undefined : ticket;
}

/** The connector has said its time; its ticket comes about now. */
export function keepTicket(tunnel: Tunnel, welcome: TunnelWelcome, client: Client): void {
  const clock = learnOffset({
    receiverNow: welcome.now,
    receivedAt: client.clock.unix(),
    roundTripMs: tunnel.connection.rttMs() ?? 0,
  }) ?? null;
  const look = () => {
    const session = tunnel.connection.ticket();
    const der = tunnel.connection.peerCertificates()?.[0];
    const peer = der && parsePeerCertificate(der);
    if (!client.earlyData || !session || !peer || tunnel.peer === "") return;
    client.tickets.put(
      { kind: "connector", name: tunnel.peer, networkId: client.identity.networkId },
      session,
      {
        kind: "connector",
        serverName: serverNameOf(peer),
        pin: peer.pin,
        services: [...tunnel.services],
        noEarlyServices: [...welcome.noEarlyServices],
        clock,
      },
    );
  };
  for (const delay of TICKET_DELAYS) setTimeout(look, delay);
}
