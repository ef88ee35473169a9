/**
 * What stands in the open in a client's first packet (RFC 9000 §17.2.2), read without the engine's (slow) parser.
 *
 * ```
 * 1100xxxx version[4] dcid-length[1] dcid scid-length[1] scid token-length varint, token ...
 * ```
 * @module
 */

/** The open part of an Initial packet. The arrays are views of the packet. */
export interface InitialHeader {
  readonly dcid: Uint8Array;
  readonly scid: Uint8Array;
  readonly token: Uint8Array;
}

/** Longest connection id of QUIC v1. */
const MAX_CONNECTION_ID = 20;

/** Reads an Initial packet's header; `undefined` where it is cut short or no QUIC v1. Total. */
export function decodeInitialHeader(packet: Uint8Array): InitialHeader | undefined {
  let at = 5;
  const bytes = (length: number): Uint8Array | undefined => {
    if (at + length > packet.length) return undefined;
    at += length;
    return packet.subarray(at - length, at);
  };
  const id = (): Uint8Array | undefined => {
    const length = packet[at++];
    return length === undefined || length > MAX_CONNECTION_ID ? undefined : bytes(length);
  };
  const dcid = id();
  const scid = dcid && id();
  const first = packet[at];
  if (!scid || first === undefined) return undefined;
  // RFC 9000 §16; a token of ours has less than 64 bytes, and nobody's has more than a packet.
  const lengthBytes = 1 << (first >> 6);
  const field = bytes(lengthBytes);
  if (!field) return undefined;
  let length = first & 0x3f;
  for (const byte of field.subarray(1)) length = length * 256 + byte;
  const token = bytes(length);
  return token && { dcid, scid, token };
}
