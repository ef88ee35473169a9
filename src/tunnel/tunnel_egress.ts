/**
 * Where a tunnel's packets go: sealed to the relay, or bare to the other end.
 * @module
 */
import { type Address, concatBytes, type Millis } from "../core/mod.ts";
import { type Egress, MIN_PACKET } from "../quic/mod.ts";
import type { UdpSocket } from "../sockets/mod.ts";
import { RecentPackets } from "./recent_packets.ts";
import { isRelayed, sealedPrefix } from "./sealed.ts";

const BARE = new Uint8Array(0);

/** QUIC packet on a path whose MTU nobody has measured yet, in bytes: the size that every path must carry (RFC 9000 §14). */
export const UNPROVEN_PACKET = MIN_PACKET;

/** Of a handshake, kept for sending it once more, in bytes: a client's flight is one packet, a server's about three. */
const MAX_FLIGHT_BYTES = 16 * 1024;

/**
 * Of a young tunnel, sent twice: to the relay, and sealed all the same to where the relay sees the other end, in bytes. Enough
 * for handshake, offers and the first requests; a direct path is in use by then, or does not come that soon.
 */
const MAX_SHORTCUT_BYTES = 48 * 1024;

/** How a tunnel reaches the network. */
export interface TunnelWires {
  /** The relay socket: control connection and relayed path. */
  readonly relaySocket: UdpSocket;
  /** The P2P socket: probes and direct path. */
  readonly p2pSocket: UdpSocket;
  /** The socket of a direct path other than the P2P one, by where it is bound; `undefined` where it is closed. */
  directSocket(local: Address): UdpSocket | undefined;
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
  /** Copies of what was sent on the relayed path while the handshake runs, or first after a move there; `undefined`: none. */
  #flight: { data: Uint8Array; segmentSize: number }[] | undefined = [];
  #flightBytes = 0;
  #maxFlightBytes = MAX_FLIGHT_BYTES;
  /** Where the relay sees the other end, while what goes to the relay goes there, too. */
  #shortcuts: readonly Address[] = [];
  #shortcutBytes = 0;
  /** What went the direct way lately. */
  readonly #recent = new RecentPackets();
  /** Called when the tunnel sends. */
  onTransmit: (() => void) | undefined;
  #blocked: UdpSocket;

  constructor(tunnelId: string, wires: TunnelWires) {
    this.#wires = wires;
    this.#prefix = sealedPrefix(tunnelId);
    this.#blocked = wires.relaySocket;
  }

  packetSize(peer: Address): number {
    return isRelayed(peer) ? this.#relayedSize : this.#sizes.get(peer.key) ?? UNPROVEN_PACKET;
  }

  /**
   * The largest QUIC packet that was proven for a path, in bytes; `undefined` forgets it. Holds 16 direct paths; the oldest
   * is forgotten.
   */
  setPathMtu(peer: Address, packet: number | undefined): void {
    if (isRelayed(peer)) {
      this.#relayedSize = packet ?? UNPROVEN_PACKET;
      return;
    }
    this.#sizes.delete(peer.key);
    if (packet === undefined) return;
    this.#sizes.set(peer.key, packet);
    if (this.#sizes.size > 16) {
      for (const oldest of this.#sizes.keys()) {
        this.#sizes.delete(oldest);
        break;
      }
    }
  }

  prefix(peer: Address): Uint8Array {
    return isRelayed(peer) ? this.#prefix : BARE;
  }

  transmit(local: Address, peer: Address, data: Uint8Array, segmentSize: number): number {
    this.onTransmit?.();
    if (isRelayed(peer)) {
      const relay = this.#wires.relayAddress();
      if (!relay) return data.length;
      this.#blocked = this.#wires.relaySocket;
      if (this.#flight && this.#flightBytes + data.length <= this.#maxFlightBytes) {
        this.#flight.push({ data: data.slice(), segmentSize });
        this.#flightBytes += data.length;
      }
      if (this.#shortcuts.length > 0) this.#sendShort(data, segmentSize);
      return this.#blocked.send(relay, data, segmentSize);
    }
    const { p2pSocket } = this.#wires;
    const socket = local.port === p2pSocket.local.port
      ? p2pSocket
      : this.#wires.directSocket(local);
    // Closed: that path is gone, and what is sent on it is lost.
    if (!socket) return data.length;
    this.#blocked = socket;
    const taken = socket.send(peer, data, segmentSize);
    if (taken === data.length) this.#recent.sent(data, segmentSize, performance.now());
    return taken;
  }

  /**
   * From now on, for a while, what goes to the relay also goes to these addresses, sealed just the same: half the way, where both
   * NATs let it pass. To QUIC it is one path, and what arrives twice is dropped. `[]` ends it.
   */
  setShortcuts(addresses: readonly Address[]): void {
    const fresh = this.#shortcuts.length === 0;
    this.#shortcuts = addresses;
    if (fresh) {
      for (const { data, segmentSize } of this.#flight ?? []) this.#sendShort(data, segmentSize);
    }
  }

  #sendShort(data: Uint8Array, segmentSize: number): void {
    this.#shortcutBytes += data.length;
    if (this.#shortcutBytes > MAX_SHORTCUT_BYTES) {
      this.#shortcuts = [];
      return;
    }
    for (const to of this.#shortcuts) this.#wires.p2pSocket.send(to, data, segmentSize);
  }

  /** Sends one datagram of our own, sealed, to the other end. */
  sendSealed(datagram: Uint8Array): void {
    const relay = this.#wires.relayAddress();
    if (!relay) return;
    const sealed = concatBytes(this.#prefix, datagram);
    this.#wires.relaySocket.send(relay, sealed, sealed.length);
  }

  /**
   * Sends the handshake's packets once more, as they were. QUIC itself would wait for a second before it does, as it knows
   * no round trip yet; a packet that arrives twice is dropped by the other end.
   */
  resendFlight(): void {
    const relay = this.#wires.relayAddress();
    if (!relay) return;
    for (const { data, segmentSize } of this.#flight ?? []) {
      this.#wires.relaySocket.send(relay, data, segmentSize);
      this.#sendShort(data, segmentSize);
    }
  }

  /** Sends what went the direct way lately once more, by way of the relay: that path is dead. */
  repeatRelayed(): void {
    this.#repeat(this.#recent.take(performance.now()));
  }

  /** The same of what went the direct way at `time` or later, which may be silent only. Answers whether there was anything. */
  copyRelayed(time: Millis): boolean {
    return this.#repeat(this.#recent.sentSince(time));
  }

  /** The same of the last packet that went the direct way at `time` or later. */
  copyLastRelayed(time: Millis): void {
    this.#repeat(this.#recent.sentSince(time).slice(-1));
  }

  #repeat(packets: readonly Uint8Array[]): boolean {
    const fitting = packets.filter(({ length }) => length <= this.#relayedSize);
    for (const packet of fitting) this.sendSealed(packet);
    return fitting.length > 0;
  }

  /** What was kept has arrived; what follows is kept anew, up to so many bytes. */
  restartFlight(maxBytes: number = MAX_FLIGHT_BYTES): void {
    this.#flight = [];
    this.#flightBytes = 0;
    this.#maxFlightBytes = maxBytes;
  }

  /** The handshake is over: its packets need not be kept. */
  dropFlight(): void {
    this.#flight = undefined;
  }

  writable(): Promise<void> {
    return this.#blocked.writable();
  }
}
