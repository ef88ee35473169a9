/**
 * The plain way out for a control connection: every packet to its peer, from one socket.
 * @module
 */
import type { Egress } from "../quic/mod.ts";
import type { UdpSocket } from "../sockets/mod.ts";

const BARE = new Uint8Array(0);

/**
 * Packet size of control connections, in bytes: little travels on them, so the size that every path carries (RFC 9000 §14)
 * is worth more than a few packets.
 */
const CONTROL_PACKET = 1200;

/** Sends along the socket. */
export function socketEgress(socket: UdpSocket): Egress {
  return {
    packetSize: () => CONTROL_PACKET,
    prefix: () => BARE,
    transmit: (_local, peer, data, segmentSize) => socket.send(peer, data, segmentSize),
    writable: () => socket.writable(),
  };
}
