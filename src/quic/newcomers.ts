/**
 * Handshakes that strangers have begun and not finished. There are only so many, and for so long; and once there are more
 * than a few, whoever wants one more has to show first that it is where it says (RFC 9000 §8.1.2), which costs us no memory:
 *
 * ```
 * client                                relay
 *   | Initial                             |   few half-open handshakes: accepted
 *   |------------------------------------>|   many:
 *   |              Retry (token)          |      token = 01 time[4] client's first dcid, mac[16] over it and the address
 *   |<------------------------------------|
 *   | Initial (token)                     |   accepted, while this host has not too many
 *   |------------------------------------>|
 * ```
 * @module
 */
import { createHmac } from "node:crypto";
import { type Address, concatBytes, encodeUtf8, equalBytes } from "../core/mod.ts";
import { CONNECTION_ID_LENGTH } from "./connection_id.ts";
import { writeRetry } from "./engine.ts";
import { decodeInitialHeader, type InitialHeader } from "./long_header_codec.ts";

/** Bounds of {@linkcode Newcomers}. */
export interface NewcomerLimits {
  /** Half-open handshakes from which on an address has to be shown. */
  readonly freely: number;
  /** Half-open handshakes at most; beyond it newcomers are dropped, and come again by QUIC's own retransmission. */
  readonly most: number;
  /** Of one host. */
  readonly mostPerHost: number;
  /** Milliseconds that a handshake may take. */
  readonly timeoutMs: number;
}

/**
 * A handshake holds about 30 KiB and takes a round trip or two: 64 MiB at most; 64 hosts that come at once (after a relay's
 * restart, for one) are not sent away for a round trip; an office behind one NAT comes in with 256 machines.
 */
export const NEWCOMER_LIMITS: NewcomerLimits = {
  freely: 64,
  most: 2_000,
  mostPerHost: 256,
  timeoutMs: 10_000,
};

/** Seconds that a token is good for: a round trip on the worst of networks, and a retransmission. */
const TOKEN_SECONDS = 15;

const TOKEN_TYPE = 1;
const TOKEN_HEAD = 5;
const MAC_BYTES = 16;

/** What to do with a stranger's first packet. */
export type Verdict =
  /** `retried`: ids by which the engine goes on after a Retry. */
  | { readonly type: "accept"; readonly retried?: { id: Uint8Array; original: Uint8Array } }
  | { readonly type: "retry"; readonly datagram: Uint8Array<ArrayBuffer> }
  | { readonly type: "drop"; readonly why: "malformed" | "full" };

/** See the module's head. */
export class Newcomers {
  readonly #limits: NewcomerLimits;
  readonly #key = crypto.getRandomValues(new Uint8Array(32));
  readonly #perHost = new Map<string, number>();
  #count = 0;

  constructor(limits: NewcomerLimits = NEWCOMER_LIMITS) {
    this.#limits = limits;
  }

  /** Handshakes under way. */
  get count(): number {
    return this.#count;
  }

  /** Judges the first packet of a stranger; `now` in Unix milliseconds. */
  judge(packet: Uint8Array, from: Address, now: number): Verdict {
    const { freely, most, mostPerHost } = this.#limits;
    if (this.#count < freely) return { type: "accept" };
    const header = decodeInitialHeader(packet);
    if (!header) return { type: "drop", why: "malformed" };
    if (header.token.length === 0) {
      return { type: "retry", datagram: this.#retry(header, from, now) };
    }
    const original = this.#readToken(header.token, from, now);
    if (!original || header.dcid.length !== CONNECTION_ID_LENGTH) {
      return { type: "drop", why: "malformed" };
    }
    if (this.#count >= most || (this.#perHost.get(from.host) ?? 0) >= mostPerHost) {
      return { type: "drop", why: "full" };
    }
    return { type: "accept", retried: { id: header.dcid.slice(), original } };
  }

  /** One was accepted. Call what this answers when its handshake is over, however it ended; `late` when it takes too long. */
  begin(host: string, late: () => void): () => void {
    this.#count++;
    this.#perHost.set(host, (this.#perHost.get(host) ?? 0) + 1);
    let over = false;
    const end = () => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      this.#count--;
      const left = this.#perHost.get(host)! - 1;
      if (left > 0) this.#perHost.set(host, left);
      else this.#perHost.delete(host);
    };
    const timer = setTimeout(() => {
      end();
      late();
    }, this.#limits.timeoutMs);
    return end;
  }

  #retry({ dcid, scid }: InitialHeader, from: Address, now: number): Uint8Array<ArrayBuffer> {
    const head = new Uint8Array(TOKEN_HEAD);
    head[0] = TOKEN_TYPE;
    new DataView(head.buffer).setUint32(1, Math.floor(now / 1000));
    const body = concatBytes(head, dcid);
    const token = concatBytes(body, this.#mac(body, from));
    const id = crypto.getRandomValues(new Uint8Array(CONNECTION_ID_LENGTH));
    return writeRetry({ scid, dcid, id, token });
  }

  /** The client's first destination id, if we made this token for this address just now. */
  #readToken(token: Uint8Array, from: Address, now: number): Uint8Array | undefined {
    const end = token.length - MAC_BYTES;
    if (end < TOKEN_HEAD || token[0] !== TOKEN_TYPE) return undefined;
    const body = token.subarray(0, end);
    if (!equalBytes(token.subarray(end), this.#mac(body, from))) return undefined;
    const time = new DataView(body.buffer, body.byteOffset).getUint32(1);
    const age = Math.floor(now / 1000) - time;
    return age >= 0 && age <= TOKEN_SECONDS ? body.slice(TOKEN_HEAD) : undefined;
  }

  #mac(body: Uint8Array, from: Address): Uint8Array {
    const mac = createHmac("sha256", this.#key).update(body).update(encodeUtf8(from.key)).digest();
    return mac.subarray(0, MAC_BYTES);
  }
}
