/**
 * The relayed path of a tunnel: its QUIC packets travel inside sealed datagrams, which the relay forwards unchanged.
 *
 * ```
 * 02 tunnel-id[8] QUIC packet
 * ```
 *
 * For QUIC the relayed path is an ordinary one, between two made-up addresses.
 * @module
 */
import { type Address, addressOf, type Bytes, fromHex } from "../core/mod.ts";

/** Bytes before the QUIC packet. */
export const SEALED_OVERHEAD = 9;

/**
 * The agent's end of every relayed path, as both ends' QUIC sees it: a unique local address (RFC 4193) with a random
 * global id, so that no real interface has it. Port 1 is nobody's either.
 */
export const RELAYED_AGENT: Address = addressOf("fd6f:3d1c:a2b9::a", 1);
/** The connector's end of every relayed path. */
export const RELAYED_CONNECTOR: Address = addressOf("fd6f:3d1c:a2b9::c", 1);

/** Is that the other end by way of the relay? */
export function isRelayed(peer: Address): boolean {
  return peer === RELAYED_AGENT || peer === RELAYED_CONNECTOR ||
    peer.key === RELAYED_AGENT.key || peer.key === RELAYED_CONNECTOR.key;
}

/**
 * What goes before each packet of this tunnel.
 *
 * @throws {TypeError} where the id is not 16 hexadecimal digits
 */
export function sealedPrefix(tunnelId: string): Bytes {
  const id = fromHex(tunnelId);
  if (id?.length !== 8) {
    throw new TypeError(`Cannot use "${tunnelId}" as a tunnel id as it is not 8 bytes in hex`);
  }
  const prefix = new Uint8Array(SEALED_OVERHEAD);
  prefix[0] = 0x02;
  prefix.set(id, 1);
  return prefix;
}

/** The id that stands at `offset`, as a table key: 48 bits, exact in a double; the other 16 are {@linkcode tunnelTail}. */
export function tunnelKey(bytes: Uint8Array, offset: number): number {
  return (bytes[offset]! * 0x1000000 + (bytes[offset + 1]! << 16 | bytes[offset + 2]! << 8 |
        bytes[offset + 3]!)) * 0x10000 + (bytes[offset + 4]! << 8 | bytes[offset + 5]!);
}

/** The last 16 bits of the id that stands at `offset`. */
export function tunnelTail(bytes: Uint8Array, offset: number): number {
  return bytes[offset + 6]! << 8 | bytes[offset + 7]!;
}
