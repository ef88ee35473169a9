/**
 * What stands in the open in packets with a long header (RFC 9000 §17.2), read without the engine's (slow) parser.
 *
 * ```
 * 11ttxxxx version[4] dcid-length[1] dcid scid-length[1] scid                                   0-RTT, Handshake:
 *                                                        length varint, number and payload
 * 1100xxxx ...                                           token-length varint, token, length …   Initial
 * ```
 * @module
 */

import { isInitial } from "./connection_id.ts";

/** The open part of an Initial packet. The arrays are views of the packet. */
export interface InitialHeader {
  readonly dcid: Uint8Array;
  readonly scid: Uint8Array;
  readonly token: Uint8Array;
}

/** Longest connection id of QUIC v1. */
const MAX_CONNECTION_ID = 20;

/** Bits of the first byte that name a long header's packet type. */
const TYPE_BITS = 0x30;
const TYPE_INITIAL = 0x00;
const TYPE_RETRY = 0x30;

/** Reads from a packet; every answer may be `undefined`, as it may end anywhere. */
class Reader {
  at = 5;
  readonly #packet: Uint8Array;

  constructor(packet: Uint8Array) {
    this.#packet = packet;
  }

  bytes(length: number): Uint8Array | undefined {
    if (this.at + length > this.#packet.length) return undefined;
    this.at += length;
    return this.#packet.subarray(this.at - length, this.at);
  }

  id(): Uint8Array | undefined {
    const length = this.#packet[this.at++];
    return length === undefined || length > MAX_CONNECTION_ID ? undefined : this.bytes(length);
  }

  /** RFC 9000 §16. Longer than any packet is as good as too long: what follows finds nothing. */
  varint(): number | undefined {
    const first = this.#packet[this.at];
    const field = first === undefined ? undefined : this.bytes(1 << (first >> 6));
    if (!field) return undefined;
    let value = first! & 0x3f;
    for (const byte of field.subarray(1)) value = value * 256 + byte;
    return value;
  }
}

/** Reads an Initial packet's header; `undefined` where it is cut short or no QUIC v1. Total. */
export function decodeInitialHeader(packet: Uint8Array): InitialHeader | undefined {
  const reader = new Reader(packet);
  const dcid = reader.id();
  const scid = dcid && reader.id();
  const length = scid && reader.varint();
  const token = length === undefined ? undefined : reader.bytes(length);
  return token && { dcid: dcid!, scid: scid!, token };
}

/** Is this the Initial packet of a client that was sent away for a token? */
export function hasRetryToken(packet: Uint8Array): boolean {
  return isInitial(packet) && (decodeInitialHeader(packet)?.token.length ?? 0) > 0;
}

/**
 * What follows the packets with a long header in a datagram (RFC 9000 §12.2): empty where nothing does, or they are cut
 * short. Total.
 */
export function behindLongHeaders(datagram: Uint8Array): Uint8Array {
  let rest = datagram;
  while (rest.length > 0 && (rest[0]! & 0x80) !== 0) {
    const type = rest[0]! & TYPE_BITS;
    const reader = new Reader(rest);
    const ids = reader.id() && reader.id();
    const token = type === TYPE_INITIAL ? reader.varint() : 0;
    // A Retry fills its datagram.
    if (!ids || token === undefined || !reader.bytes(token) || type === TYPE_RETRY) {
      return rest.subarray(rest.length);
    }
    const length = reader.varint();
    if (length === undefined || !reader.bytes(length)) return rest.subarray(rest.length);
    rest = rest.subarray(reader.at);
  }
  return rest;
}
