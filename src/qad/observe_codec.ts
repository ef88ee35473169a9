/**
 * The question "which address do you see me at?" and its answer, as datagrams (big-endian):
 *
 * ```text
 * observe   03 txid[8] key-id[8] mac[16] flags[1] size[2] zero[28]    64 bytes, or `size` where that is not 0
 * observed  04 txid[8] QAD address[7 or 19] mac[16]                   32 or 44 bytes
 * ```
 *
 * The mac of a question covers its first 64 bytes but itself, so flags and size too; a longer one only has zeros behind
 * them, and its answer proves that the path carries datagrams of that size. The mac of an answer covers what stands before it (a NAT that rewrites addresses inside packets is found out). Flags: bit 0 asks for the answer to come from
 * the relay's other port, which tells how a NAT filters (RFC 4787 §5); bit 1 says that the asking socket is the one for direct
 * paths, and that the relay may tell those whom its client is about to meet; the other bits are zero and ignored.
 * @module
 */
import type { Address } from "../core/address.ts";
import { type Bytes, concatBytes, equalBytes } from "../core/bytes.ts";
import { decodeQadAddress, encodeQadAddress, QAD_V4_BYTES, QAD_V6_BYTES } from "./address_codec.ts";
import { type Decoded, type Mac, MAC_BYTES } from "./primitives.ts";

/** First byte of a question. */
export const OBSERVE_TYPE = 0x03;
/** First byte of an answer. */
export const OBSERVED_TYPE = 0x04;
/** A question's length where nothing else is wanted: no answer is longer, so the relay amplifies nothing. */
export const OBSERVE_BYTES = 64;
/** Bytes of a transaction id: a forger off the path would have to guess it as well as the mac. */
export const TXID_BYTES = 8;
/** Bytes of a key id. */
export const KEY_ID_BYTES = 8;

const KEY_ID_AT = 1 + TXID_BYTES;
const MAC_AT = KEY_ID_AT + KEY_ID_BYTES;
const FLAGS_AT = MAC_AT + MAC_BYTES;
const SIZE_AT = FLAGS_AT + 1;
const ADDRESS_AT = 1 + TXID_BYTES;
const FLAG_OTHER_PORT = 0x01;
const FLAG_DIRECT = 0x02;

/** A client's key for questions: the relay gives both over the control stream. */
export interface ObserveKey {
  /** {@linkcode KEY_ID_BYTES} bytes. */
  readonly id: Uint8Array;
  readonly key: Uint8Array;
}

/** A question. */
export interface Observe {
  /** {@linkcode TXID_BYTES} bytes. */
  readonly txid: Uint8Array;
  /** Answer from the relay's other port, please. */
  readonly otherPort: boolean;
  /** The asking socket is the one for direct paths. @default false */
  readonly direct?: boolean;
}

/** An answer. */
export interface Observed {
  readonly txid: Uint8Array;
  /** The asker, as the relay sees it. */
  readonly address: Address;
}

/** Why a datagram is no question. */
export type ObserveRefusal = "wrong-type" | "wrong-length" | "unknown-key" | "bad-mac";
/** Why a datagram is no answer. */
export type ObservedRefusal = "wrong-type" | "wrong-length" | "bad-address" | "bad-mac";

function refuse<Refusal extends string>(refused: Refusal): { ok: false; refused: Refusal } {
  return { ok: false, refused };
}

function questionMac(datagram: Uint8Array, key: Uint8Array, mac: Mac): Uint8Array {
  return mac(
    key,
    concatBytes(datagram.subarray(0, MAC_AT), datagram.subarray(FLAGS_AT, OBSERVE_BYTES)),
  );
}

/**
 * A question as a datagram of `size` bytes ({@linkcode OBSERVE_BYTES} to 65507).
 *
 * @default size {@linkcode OBSERVE_BYTES}
 */
export function encodeObserve(
  observe: Observe,
  key: ObserveKey,
  options: { mac: Mac; size?: number },
): Bytes {
  const size = Math.max(options.size ?? 0, OBSERVE_BYTES);
  const datagram = new Uint8Array(size);
  if (size > OBSERVE_BYTES) new DataView(datagram.buffer).setUint16(SIZE_AT, size);
  datagram[0] = OBSERVE_TYPE;
  datagram.set(observe.txid, 1);
  datagram.set(key.id, KEY_ID_AT);
  datagram[FLAGS_AT] = (observe.otherPort ? FLAG_OTHER_PORT : 0) |
    (observe.direct ? FLAG_DIRECT : 0);
  datagram.set(questionMac(datagram, key.key, options.mac), MAC_AT);
  return datagram;
}

/** Reads and checks a question; `keyOf` finds the key of a key id. Any bytes give a value or a refusal. */
export function decodeObserve(
  datagram: Uint8Array,
  options: { keyOf: (keyId: Uint8Array) => Uint8Array | undefined; mac: Mac },
): Decoded<Observe, ObserveRefusal> {
  if (datagram[0] !== OBSERVE_TYPE) return refuse("wrong-type");
  if (datagram.length < OBSERVE_BYTES) return refuse("wrong-length");
  const size = datagram[SIZE_AT]! << 8 | datagram[SIZE_AT + 1]!;
  if (datagram.length !== (size || OBSERVE_BYTES)) return refuse("wrong-length");
  const key = options.keyOf(datagram.subarray(KEY_ID_AT, MAC_AT));
  if (!key) return refuse("unknown-key");
  const wanted = questionMac(datagram, key, options.mac);
  if (!equalBytes(wanted, datagram.subarray(MAC_AT, FLAGS_AT))) return refuse("bad-mac");
  const flags = datagram[FLAGS_AT]!;
  const otherPort = (flags & FLAG_OTHER_PORT) !== 0;
  const direct = (flags & FLAG_DIRECT) !== 0;
  return { ok: true, value: { txid: datagram.slice(1, KEY_ID_AT), otherPort, direct } };
}

/** An answer as 32 (IPv4) or 44 (IPv6) bytes. */
export function encodeObserved(
  observed: Observed,
  options: { key: Uint8Array; mac: Mac },
): Bytes {
  const body = concatBytes(
    Uint8Array.of(OBSERVED_TYPE),
    observed.txid,
    encodeQadAddress(observed.address),
  );
  return concatBytes(body, options.mac(options.key, body));
}

/** Reads and checks an answer. Any bytes give a value or a refusal. */
export function decodeObserved(
  datagram: Uint8Array,
  options: { key: Uint8Array; mac: Mac },
): Decoded<Observed, ObservedRefusal> {
  if (datagram[0] !== OBSERVED_TYPE) return refuse("wrong-type");
  const macAt = datagram.length - MAC_BYTES;
  const addressBytes = macAt - ADDRESS_AT;
  if (addressBytes !== QAD_V4_BYTES && addressBytes !== QAD_V6_BYTES) return refuse("wrong-length");
  const wanted = options.mac(options.key, datagram.subarray(0, macAt));
  if (!equalBytes(wanted, datagram.subarray(macAt))) return refuse("bad-mac");
  const address = decodeQadAddress(datagram.subarray(ADDRESS_AT, macAt));
  if (!address) return refuse("bad-address");
  return { ok: true, value: { txid: datagram.slice(1, ADDRESS_AT), address } };
}
