/**
 * The QAD address, the only codec of it in the tree:
 *
 * ```text
 * IPv4:  01 ip[4]  port[2]     7 bytes
 * IPv6:  01 ip[16] port[2]    19 bytes      big-endian; the length tells the family
 * ```
 *
 * An IPv4-mapped IPv6 address is always written as IPv4, and read as IPv4 where somebody wrote it long.
 * @module
 */
import ipaddr from "ipaddr.js";
import { type Address, addressOf } from "../core/address.ts";
import type { Bytes } from "../core/bytes.ts";

/** Bytes of an IPv4 QAD address. */
export const QAD_V4_BYTES = 7;
/** Bytes of an IPv6 QAD address. */
export const QAD_V6_BYTES = 19;

const VERSION = 0x01;

/** An address as 7 (IPv4) or 19 (IPv6) bytes. */
export function encodeQadAddress(address: Address): Bytes {
  const ip = ipaddr.parse(address.host).toByteArray();
  const bytes = new Uint8Array(1 + ip.length + 2);
  bytes[0] = VERSION;
  bytes.set(ip, 1);
  bytes[bytes.length - 2] = address.port >> 8;
  bytes[bytes.length - 1] = address.port & 0xff;
  return bytes;
}

/** The address that exactly these bytes are, or `undefined` for any other bytes. Never throws. */
export function decodeQadAddress(bytes: Uint8Array): Address | undefined {
  if (bytes.length !== QAD_V4_BYTES && bytes.length !== QAD_V6_BYTES) return undefined;
  if (bytes[0] !== VERSION) return undefined;
  const end = bytes.length - 2;
  const port = (bytes[end]! << 8) | bytes[end + 1]!;
  return addressOf(ipaddr.fromByteArray([...bytes.subarray(1, end)]).toString(), port);
}
