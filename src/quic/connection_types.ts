/**
 * What a connection and those around it expect of each other.
 * @module
 */
import type { Address } from "../core/mod.ts";
import type { NativePathEvent } from "./engine.ts";
import type { QuicStream } from "./stream.ts";

/** Where a connection's packets go. */
export interface Egress {
  /** Largest QUIC packet for this path, in bytes (1200 or more). */
  packetSize(peer: Address): number;
  /** Bytes to put before each packet on this path; empty for none. */
  prefix(peer: Address): Uint8Array;
  /** Sends a train (prefixes included) along a path; answers how many bytes were taken, as `UdpSocket.send` does. */
  transmit(local: Address, peer: Address, data: Uint8Array, segmentSize: number): number;
  /** Resolves when {@linkcode transmit} may take more. */
  writable(): Promise<void>;
}

/** Why a connection ended. */
export interface CloseReason {
  /** Who ended it: a timer, the other end, or this end. */
  readonly by: "timeout" | "peer" | "local";
  /** QUIC or application error code (RFC 9000 §20); 0 is none. */
  readonly code: number;
  /** The code is the application's own. */
  readonly application: boolean;
  readonly text: string;
  /** It ended before the handshake was done. */
  readonly duringHandshake: boolean;
}

/** What a connection tells its owner. Each is called on the event loop, never inside one of its methods. */
export interface ConnectionHandler {
  /** The handshake is complete and the peer's certificate checked. */
  established?(): void;
  /** The peer opened a stream (maybe still in early data: ask `QuicConnection.inEarlyData`). */
  stream?(stream: QuicStream): void;
  /** A DATAGRAM came. The array is the receiver's. */
  datagram?(data: Uint8Array): void;
  /** Something happened to a path: validated, migrated, new. */
  path?(event: NativePathEvent): void;
  /** The peer has given more connection ids: a new path may be probed. */
  idsGiven?(): void;
  /** A packet came from where one was waited for (`QuicConnection.listenFor`). */
  heard?(): void;
  /** It is over; called once. */
  closed?(reason: CloseReason): void;
}
