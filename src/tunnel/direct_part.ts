/**
 * The direct side of a tunnel as the tunnel and the roles see it.
 * @module
 */
import type { Address, Clock, Logger } from "../core/mod.ts";
import type { AttemptOutcome, Candidate, LocalFacts, PathOffer, SocketId } from "../path/mod.ts";
import type { Mac, RandomBytes } from "../qad/mod.ts";
import type { NativePathEvent } from "../quic/mod.ts";
import type { UdpSocket } from "../sockets/mod.ts";
import type { TunnelMessage } from "./tunnel_message.ts";

/** The sockets of direct paths. */
export interface DirectSockets {
  get(id: SocketId): UdpSocket | undefined;
  idOf(local: Address): SocketId;
  open(count: number): SocketId[];
  close(ids: Iterable<SocketId>): void;
}

/** What is known of our own end. */
export interface OwnPaths {
  candidates(): Candidate[];
  facts(): LocalFacts;
  readonly allowLoopback: boolean;
  /** Ask the relay again where it sees us: the other end says that it is not where it was. */
  refresh(): void;
}

/** What the direct side of a tunnel needs. */
export interface DirectSideOptions {
  readonly sockets: DirectSockets;
  readonly own: OwnPaths;
  readonly clock: Clock;
  readonly log: Logger;
  readonly mac: Mac;
  readonly random: RandomBytes;
  /** The direct path may be broken, and the relay be needed at any moment. */
  readonly doubted: () => void;
  /** The other end's packets may come straight from there, from now on. */
  readonly expect: (addresses: readonly Address[]) => void;
  /** Takes a packet that came by way of the relay and was kept to the tunnel's connection. */
  readonly deliver: (packet: Uint8Array) => void;
  /** This end wants no direct path. */
  readonly disabled: boolean;
  /** Guess ports where one NAT maps per destination. @default true */
  readonly guessing?: boolean;
  /** Round trip to the other end over the relay, in milliseconds, as far as known. */
  readonly relayRtt?: number;
}

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
  /** One of the tunnel's packets came straight from where the relay sees the other end. */
  heardStraight(from: Address): void;
  /** The other end has given connection ids for more paths. */
  idsGiven(): void;
  /** A packet came on the path that the tunnel wants to go back to. */
  heard(): void;
  datagram(socket: SocketId, from: Address, datagram: Uint8Array): void;
  /** What came sealed and is no QUIC packet. */
  sealedDatagram(datagram: Uint8Array): void;
  /** One of the tunnel's packets came by way of the relay. Answers whether it is kept for now. */
  keeps(packet: Uint8Array): boolean;
  peerSeen(addresses: readonly Address[]): void;
  ownChanged(): void;
  networkChanged(): void;
  onChange(listener: (change: PathChange) => void): () => void;
}
