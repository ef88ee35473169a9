/**
 * Where a tunnel's packets go: sealed to the relay, or bare to the other end.
 * @module
 */
import type { Address } from "../core/mod.ts";
import type { Egress } from "../quic/mod.ts";
import type { UdpSocket } from "../sockets/mod.ts";
import { isRelayed, SEALED_OVERHEAD, sealedPrefix } from "./sealed.ts";

const BARE = new Uint8Array(0);

/**
 * QUIC packet on a path whose MTU nobody has measured, in bytes: with IPv6, UDP and the sealed header it needs an MTU of 1407,
 * which tunnels, PPPoE and mobile networks have.
 */
export const UNPROVEN_PACKET = 1350;

/** How a tunnel reaches the network. */
export interface TunnelWires {
  /** The relay socket: control connection and relayed path. */
  readonly relaySocket: UdpSocket;
  /** The P2P socket: probes and direct path. */
  readonly p2pSocket: UdpSocket;
  /** Where the relay is just now; `undefined` while it is out of reach: relayed packets are lost then, and QUIC sends them again. */
  relayAddress(): Address | undefined;
}

/** A tunnel's way out. */
export class TunnelEgress implements Egress {
  readonly #wires: TunnelWires;
  readonly #prefix: Uint8Array;
  /** QUIC packet sizes that were proven, per peer address. */
  readonly #sizes = new Map<string, number>();
  #relayedSize = UNPROVEN_PACKET;
  /** Called when the tunnel sends. */
  onTransmit: (() => void) | undefined;
  #blocked: UdpSocket;
  /** Sockets other than the P2P one that a direct path was found on, by the peer's address. */
  readonly #sockets = new Map<string, UdpSocket>();

  constructor(tunnelId: string, wires: TunnelWires) {
    this.#wires = wires;
    this.#prefix = sealedPrefix(tunnelId);
    this.#blocked = wires.relaySocket;
  }

  packetSize(peer: Address): number {
    return isRelayed(peer) ? this.#relayedSize : this.#sizes.get(peer.key) ?? UNPROVEN_PACKET;
  }

  /**
   * The largest UDP payload that was proven for a path, in bytes (sealed header included on the relayed one); `undefined`
   * forgets it. Holds 16 direct paths; the oldest is forgotten.
   */
  setPathMtu(peer: Address, udpPayload: number | undefined): void {
    if (isRelayed(peer)) {
      this.#relayedSize = udpPayload === undefined ? UNPROVEN_PACKET : udpPayload - SEALED_OVERHEAD;
      return;
    }
    this.#sizes.delete(peer.key);
    if (udpPayload === undefined) return;
    this.#sizes.set(peer.key, udpPayload);
    if (this.#sizes.size > 16) {
      for (const oldest of this.#sizes.keys()) {
        this.#sizes.delete(oldest);
        break;
      }
    }
  }

  /** Which socket leads to that peer directly, where it is not the P2P socket; `undefined` makes it the P2P socket. */
  setSocket(peer: Address, socket: UdpSocket | undefined): void {
    if (socket) this.#sockets.set(peer.key, socket);
    else this.#sockets.delete(peer.key);
  }

  prefix(peer: Address): Uint8Array {
    return isRelayed(peer) ? this.#prefix : BARE;
  }

  transmit(_local: Address, peer: Address, data: Uint8Array, segmentSize: number): number {
    this.onTransmit?.();
    if (isRelayed(peer)) {
      const relay = this.#wires.relayAddress();
      if (!relay) return data.length;
      this.#blocked = this.#wires.relaySocket;
      return this.#blocked.send(relay, data, segmentSize);
    }
    this.#blocked = this.#sockets.size > 0
      ? this.#sockets.get(peer.key) ?? this.#wires.p2pSocket
      : this.#wires.p2pSocket;
    return this.#blocked.send(peer, data, segmentSize);
  }

  writable(): Promise<void> {
    return this.#blocked.writable();
  }
}
