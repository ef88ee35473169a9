/**
 * Probes: "does this way carry a packet of this size, and are you who shares the key?" (big-endian)
 *
 * ```text
 * probe   05 tunnel-id[8] txid[8] flags[1] zero[...] mac[16]              64 bytes to as much as is to be tested
 * reply   06 tunnel-id[8] txid[8] QAD address of the prober mac[16]       40 or 52 bytes
 * ```
 *
 * Flags: bit 0 is set by the agent, clear from the connector, so that a probe reflected to its sender is found out; bit 1
 * asks for a full-size probe back. The mac covers all that stands before it; its key is agreed inside the tunnel, so
 * neither the relay nor anyone on the way can make a path look valid.
 * @module
 */
import type { Address } from "../core/address.ts";
import { type Bytes, concatBytes, equalBytes, fromHex, toHex } from "../core/bytes.ts";
import {
  decodeQadAddress,
  encodeQadAddress,
  type Mac,
  MAC_BYTES,
  QAD_V4_BYTES,
  QAD_V6_BYTES,
} from "../qad/mod.ts";

/** First byte of a probe. */
export const PROBE_TYPE = 0x05;
/** First byte of a reply. */
export const PROBE_REPLY_TYPE = 0x06;
/** Bytes of a tunnel id. */
export const TUNNEL_ID_BYTES = 8;
/** Bytes of a transaction id. */
export const PROBE_TXID_BYTES = 8;
/** Smallest probe: more than the largest reply (52), so that an answer never outgrows its question. */
export const MIN_PROBE_BYTES = 64;
/** Largest probe: the largest UDP payload over IPv4. */
export const MAX_PROBE_BYTES = 65_507;

const TXID_AT = 1 + TUNNEL_ID_BYTES;
const FLAGS_AT = TXID_AT + PROBE_TXID_BYTES;
const ADDRESS_AT = FLAGS_AT;
const FLAG_AGENT = 0x01;
const FLAG_PROBE_BACK = 0x02;

/** Which end of the tunnel: the agent is the controlling one (RFC 8445 §6.1.1), as only a QUIC client can migrate. */
export type PathRole = "agent" | "connector";

/** An authentic probe of the other end. */
export interface Probe {
  readonly type: "probe";
  /** Hexadecimal. */
  readonly txid: string;
  /** The whole datagram's length in bytes: what this direction carried. */
  readonly size: number;
  /** The other end still lacks a full-size probe of ours on this path. */
  readonly probeBack: boolean;
}

/** An authentic answer to a probe of ours. */
export interface ProbeReply {
  readonly type: "reply";
  /** Hexadecimal. */
  readonly txid: string;
  /** Us, as the other end saw us. */
  readonly seen: Address;
}

/** Why a datagram is neither. */
export type ProbeRefusal =
  | "wrong-type"
  | "wrong-length"
  | "wrong-tunnel"
  | "bad-mac"
  | "bad-address"
  | "reflected";

/** What a datagram turned out to be. */
export type OpenedProbe =
  | Probe
  | ProbeReply
  | { readonly type: "refused"; readonly reason: ProbeRefusal };

/** The tunnel (hexadecimal) that a probe or reply names, for finding its codec; `undefined` where it is too short. */
export function peekTunnelId(datagram: Uint8Array): string | undefined {
  return datagram.length < FLAGS_AT ? undefined : toHex(datagram.subarray(1, TXID_AT));
}

function refuse(reason: ProbeRefusal): OpenedProbe {
  return { type: "refused", reason };
}

/** Seals and opens the probes of one tunnel, at one end. A value: it never changes. */
export class ProbeCodec {
  readonly role: PathRole;
  #tunnelId: Uint8Array;
  #key: Uint8Array;
  #mac: Mac;

  /** @throws {RangeError} where the tunnel id is not 8 bytes */
  constructor(
    options: {
      readonly role: PathRole;
      /** {@linkcode TUNNEL_ID_BYTES} bytes. */
      readonly tunnelId: Uint8Array;
      /** Agreed inside the tunnel. */
      readonly key: Uint8Array;
      readonly mac: Mac;
    },
  ) {
    if (options.tunnelId.length !== TUNNEL_ID_BYTES) {
      throw new RangeError(
        `Cannot use a tunnel id of ${options.tunnelId.length} bytes: expected ${TUNNEL_ID_BYTES}`,
      );
    }
    this.role = options.role;
    this.#tunnelId = options.tunnelId;
    this.#key = options.key;
    this.#mac = options.mac;
  }

  /** A probe of exactly `size` bytes, within {@linkcode MIN_PROBE_BYTES} and {@linkcode MAX_PROBE_BYTES}. */
  probe(txid: string, options: { size: number; probeBack?: boolean }): Bytes {
    const size = Math.min(Math.max(options.size, MIN_PROBE_BYTES), MAX_PROBE_BYTES);
    const datagram = new Uint8Array(size);
    datagram[0] = PROBE_TYPE;
    datagram.set(this.#tunnelId, 1);
    datagram.set(fromHex(txid)!, TXID_AT);
    datagram[FLAGS_AT] = (this.role === "agent" ? FLAG_AGENT : 0) |
      (options.probeBack ? FLAG_PROBE_BACK : 0);
    datagram.set(this.#mac(this.#key, datagram.subarray(0, size - MAC_BYTES)), size - MAC_BYTES);
    return datagram;
  }

  /** The answer to a probe that came from `prober`. */
  reply(txid: string, prober: Address): Bytes {
    const body = concatBytes(
      Uint8Array.of(PROBE_REPLY_TYPE),
      this.#tunnelId,
      fromHex(txid)!,
      encodeQadAddress(prober),
    );
    return concatBytes(body, this.#mac(this.#key, body));
  }

  /** Reads and checks a datagram. Any bytes give a probe, a reply or a refusal. */
  open(datagram: Uint8Array): OpenedProbe {
    const type = datagram[0];
    if (type !== PROBE_TYPE && type !== PROBE_REPLY_TYPE) return refuse("wrong-type");
    const macAt = datagram.length - MAC_BYTES;
    const addressBytes = macAt - ADDRESS_AT;
    const fits = type === PROBE_TYPE
      ? datagram.length >= MIN_PROBE_BYTES
      : addressBytes === QAD_V4_BYTES || addressBytes === QAD_V6_BYTES;
    if (!fits) return refuse("wrong-length");
    if (!equalBytes(datagram.subarray(1, TXID_AT), this.#tunnelId)) return refuse("wrong-tunnel");
    const wanted = this.#mac(this.#key, datagram.subarray(0, macAt));
    if (!equalBytes(wanted, datagram.subarray(macAt))) return refuse("bad-mac");
    const txid = toHex(datagram.subarray(TXID_AT, FLAGS_AT));
    if (type === PROBE_REPLY_TYPE) {
      const seen = decodeQadAddress(datagram.subarray(ADDRESS_AT, macAt));
      return seen ? { type: "reply", txid, seen } : refuse("bad-address");
    }
    const flags = datagram[FLAGS_AT]!;
    if (((flags & FLAG_AGENT) !== 0) === (this.role === "agent")) return refuse("reflected");
    const probeBack = (flags & FLAG_PROBE_BACK) !== 0;
    return { type: "probe", txid, size: datagram.length, probeBack };
  }
}
