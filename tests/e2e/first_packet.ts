/**
 * What a stranger sends a relay first.
 * @module
 */

/** Looks like a QUIC client's first packet (RFC 9000 §17.2.2) as far as anybody can see without keys; never the same twice. */
export function firstPacket(): Uint8Array {
  const packet = new Uint8Array(1_200);
  // Both connection ids, and more.
  crypto.getRandomValues(packet.subarray(0, 40));
  packet.set([0xc3, 0, 0, 0, 1, 8]);
  packet[14] = 8;
  // No token; the rest of the datagram is its payload.
  packet.set([0, 0x44, 0x98], 23);
  return packet;
}
