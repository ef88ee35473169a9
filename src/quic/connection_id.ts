/**
 * Connection ids: how a datagram finds its connection without the engine's (slow) header parser.
 * @module
 */

/** Bytes in each of our connection ids: 64 random bits, the first 48 of which are the table key. */
export const CONNECTION_ID_LENGTH = 8;

/** The table key of a connection id: its first 48 bits, exact in a double. */
export function connectionIdKey(bytes: Uint8Array, offset: number): number {
  return (bytes[offset]! * 0x1000000 + (bytes[offset + 1]! << 16 | bytes[offset + 2]! << 8 |
        bytes[offset + 3]!)) * 0x10000 +
    (bytes[offset + 4]! << 8 | bytes[offset + 5]!);
}

/**
 * The table key of a QUIC packet's destination connection id (RFC 9000 §17), or `undefined` where it is too short to
 * carry one of ours.
 */
export function packetKey(packet: Uint8Array): number | undefined {
  if ((packet[0]! & 0x80) === 0) {
    return packet.length > 1 + CONNECTION_ID_LENGTH ? connectionIdKey(packet, 1) : undefined;
  }
  const length = packet[5];
  return length !== undefined && length >= CONNECTION_ID_LENGTH && packet.length > 6 + length
    ? connectionIdKey(packet, 6)
    : undefined;
}

/** QUIC version 1 (RFC 9000 §15). */
const VERSION_1 = 1;

/** Is this the first packet of a QUIC v1 connection attempt (long header, type Initial, padded as RFC 9000 §14.1 asks)? */
export function isInitial(packet: Uint8Array): boolean {
  return packet.length >= 1200 && (packet[0]! & 0xf0) === 0xc0 &&
    (packet[1]! << 24 | packet[2]! << 16 | packet[3]! << 8 | packet[4]!) === VERSION_1;
}
