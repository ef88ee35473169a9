/**
 * The direct side of a tunnel as the tunnel and the roles see it.
 * @module
 */
import type { Address } from "../core/mod.ts";
import type { AttemptOutcome, PathOffer, SocketId } from "../path/mod.ts";
import type { NativePathEvent } from "../quic/mod.ts";
import type { TunnelMessage } from "./tunnel_message.ts";

/** A change of the path in use. */
export interface PathChange {
  readonly path: "direct" | "relayed";
  readonly remote: string | null;
  readonly reason: string;
  /** Since the tunnel was asked for, in milliseconds. */
  readonly afterMs: number;
}

/** What is known about why a tunnel is not direct. */
export interface DirectFacts {
  readonly noDirect: boolean;
  readonly peerNoDirect: boolean;
  readonly offered: boolean;
  readonly peerOffer: PathOffer | undefined;
  readonly outcomes: ReadonlyMap<4 | 6, AttemptOutcome>;
}

/** See `DirectSide`. */
export interface TunnelDirect {
  /** From asking for the tunnel until the first direct path was in use, in milliseconds. */
  readonly directAfterMs: number | undefined;
  readonly pathChanges: number;
  readonly relayedFacts: DirectFacts;
  start(): void;
  stop(): void;
  message(message: TunnelMessage): void;
  pathEvent(event: NativePathEvent): void;
  datagram(socket: SocketId, from: Address, datagram: Uint8Array): void;
  /** What came sealed and is no QUIC packet. */
  sealedDatagram(datagram: Uint8Array): void;
  peerSeen(addresses: readonly Address[]): void;
  ownChanged(): void;
  networkChanged(): void;
  onChange(listener: (change: PathChange) => void): () => void;
}
