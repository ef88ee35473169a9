/**
 * What a client's connection to its relay is made with.
 * @module
 */
import type { ClientKind, ClientOutput } from "../control/mod.ts";
import type { Clock, HostPort, Logger } from "../core/mod.ts";
import type { NativeConfig, QuicEndpoint } from "../quic/mod.ts";
import type { UdpSocket } from "../sockets/mod.ts";
import type { ObserveFacts, RelayTicket } from "./relay_ticket.ts";

/** What a link needs. */
export interface RelayLinkOptions {
  readonly kind: ClientKind;
  readonly relays: () => readonly HostPort[];
  readonly serverName: string;
  /** Made anew for each connection, as the certificate may have been renewed. */
  readonly config: () => NativeConfig;
  readonly endpoint: QuicEndpoint;
  readonly socket: UdpSocket;
  readonly clock: Clock;
  readonly log: Logger;
  /** For returning with 0-RTT; `undefined`: always a full handshake first. */
  readonly ticket?: RelayTicket;
  /** Ask the relay where it sees us: it has just said how, or did at an earlier visit. */
  readonly observe: (asking: ObserveFacts) => void;
  /** The relay has followed us to another address: it forwards to us and from us again. */
  readonly followed: () => void;
  /** Something may be sent to the relay: it is welcomed, or the first flight is being written. */
  readonly usable: () => void;
  /** What the session says that is not the link's own business. */
  readonly output: (output: ClientOutput) => void;
}
