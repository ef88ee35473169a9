/**
 * Handshakes that strangers have begun and not finished. There are only so many, and for so long; and once there are more
 * than a few, or one network begins many, whoever wants one more has to show first that it is where it says (RFC 9000 §8.1.2),
 * which costs us no memory:
 *
 * ```
 * client                                relay
 *   | Initial                             |   few half-open handshakes, this network began few: accepted
 *   |------------------------------------>|   else:
 *   |              Retry (token)          |      token = 01 time[4] client's first dcid, mac[16] over it and the address
 *   |<------------------------------------|
 *   | Initial (token)                     |   accepted, while this network has not too many, and does not come too often
 *   |------------------------------------>|
 * ```
 *
 * A client sends its first packet again while nobody answers, and copies of it may be on the way when it has been sent away for a
 * token: whoever was, by the id that it made up, gets the same answer, whether there is room by now or not. Accepted, such a copy
 * would be a handshake that its client takes no part in.
 *
 * A handshake that ends well does not count: whose certificate is good is a member, and a company's 500 agents behind one address
 * are no flood, though they come at once. But each certificate is such an excuse now and then only, so nobody who has one can keep
 * a relay busy with handshakes.
 *
 * When the table is full of handshakes of real addresses, whose network has most of them loses one to whose has few: so some
 * networks that only begin handshakes cannot keep the others out.
 * @module
 */
import { createHmac } from "node:crypto";
import { type Address, concatBytes, encodeUtf8, equalBytes, toHex } from "../core/mod.ts";
import { prefixOf, RateLimit } from "../core/rate_limit.ts";
import { CONNECTION_ID_LENGTH, packetKey } from "./connection_id.ts";
import { writeRetry } from "./engine.ts";
import { HalfOpen, type HalfOpenEntry } from "./half_open.ts";
import { decodeInitialHeader, type InitialHeader } from "./long_header_codec.ts";

/** Bounds of {@linkcode Newcomers}. A network is what {@linkcode prefixOf} says. */
export interface NewcomerLimits {
  /** Half-open handshakes from which on an address has to be shown. */
  readonly freely: number;
  /** Half-open handshakes at most; beyond it newcomers are dropped, and come again by QUIC's own retransmission. */
  readonly most: number;
  /** Of one network. */
  readonly mostPerPrefix: number;
  /** Handshakes that one network may begin without showing its address: at once, and each second. */
  readonly unproven: { readonly burst: number; readonly perSecond: number };
  /** Handshakes that one network may begin at all. */
  readonly proven: { readonly burst: number; readonly perSecond: number };
  /** Milliseconds that a handshake may take. */
  readonly timeoutMs: number;
}

/**
 * A handshake holds about 60 KiB and takes a round trip or two: 60 MiB at most (and as much of those that are over as the garbage
 * collector has not fetched yet); 64 hosts that come at once (after a relay's
 * restart, for one) are not sent away for a round trip; an office behind one NAT comes in with 256 machines at once, and the next
 * as these are in. A handshake costs about 3 ms of computing: strangers of one network get no more than a fifth of a processor.
 */
export const NEWCOMER_LIMITS: NewcomerLimits = {
  freely: 64,
  most: 1_000,
  mostPerPrefix: 256,
  unproven: { burst: 64, perSecond: 16 },
  proven: { burst: 256, perSecond: 64 },
  timeoutMs: 10_000,
};

/** Networks whose rate is remembered: some 0.5 MB. Who was quiet the longest is forgotten, and may begin a burst anew. */
const MAX_PREFIXES = 4_096;

/** Ids that were sent away for a token: some 0.7 MB. Whose is forgotten may begin a second handshake, which ends as late ones do. */
const MAX_SENT_AWAY = 16_384;

/** Handshakes that do not count, by the certificate that they ended with: somebody whose network comes and goes needs no more. */
const EXCUSES = { burst: 8, perSecond: 0.5, maxEntries: 16_384 } as const;

/** The end of a certificate is its signature: these bytes of it tell it from others. */
const CERTIFICATE_NAME = 16;

/** A handshake younger than this, in milliseconds, makes no room for another: nearly all honest ones are over by then. */
const MIN_AGE = 1_000;

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
  readonly #halfOpen = new HalfOpen();
  readonly #unproven: RateLimit;
  readonly #proven: RateLimit;
  readonly #excuses = new RateLimit(EXCUSES);
  /** By the table key of the id that the client made up; oldest first. */
  readonly #sentAway = new Set<number>();

  constructor(limits: NewcomerLimits = NEWCOMER_LIMITS) {
    this.#limits = limits;
    this.#unproven = new RateLimit({ ...limits.unproven, maxEntries: MAX_PREFIXES });
    this.#proven = new RateLimit({ ...limits.proven, maxEntries: MAX_PREFIXES });
  }

  /** Handshakes under way. */
  get count(): number {
    return this.#halfOpen.size;
  }

  /** Judges the first packet of a stranger; `now` in Unix milliseconds. */
  judge(packet: Uint8Array, from: Address, now: number): Verdict {
    const header = decodeInitialHeader(packet);
    const key = packetKey(packet);
    if (!header || key === undefined) return { type: "drop", why: "malformed" };
    // Whoever was sent away for a token goes on as such, though there may be room for anybody by now: the client asks for it.
    if (header.token.length > 0) return this.#judgeAgain(header, from, now);
    if (!this.#sentAway.has(key)) {
      const { freely } = this.#limits;
      if (this.count < freely && this.#unproven.take(from.host, now)) return { type: "accept" };
      this.#sendAway(key);
    }
    return { type: "retry", datagram: this.#retry(header, from, now) };
  }

  #judgeAgain(header: InitialHeader, from: Address, now: number): Verdict {
    const original = this.#readToken(header.token, from, now);
    if (!original || header.dcid.length !== CONNECTION_ID_LENGTH) {
      return { type: "drop", why: "malformed" };
    }
    if (!this.#hasRoom(from, now)) return { type: "drop", why: "full" };
    return { type: "accept", retried: { id: header.dcid.slice(), original } };
  }

  /**
   * One was accepted. Call what this answers when its handshake is over, with the client's certificate where it ended well; `late`
   * is called when it takes too long, or has to make room for others.
   */
  begin(
    host: string,
    late: () => void,
    now: number = Date.now(),
  ): (certificate?: Uint8Array) => void {
    const entry: HalfOpenEntry = { prefix: prefixOf(host), since: now, late: () => end(true) };
    const end = (isLate: boolean) => {
      if (!this.#halfOpen.delete(entry)) return;
      clearTimeout(timer);
      if (isLate) late();
    };
    this.#halfOpen.add(entry);
    const timer = setTimeout(entry.late, this.#limits.timeoutMs);
    return (certificate) => {
      end(false);
      if (certificate) this.#excuse(host, certificate, Date.now());
    };
  }

  #excuse(host: string, certificate: Uint8Array, now: number): void {
    if (!this.#excuses.take(toHex(certificate.subarray(-CERTIFICATE_NAME)), now)) return;
    this.#unproven.giveBack(host);
    this.#proven.giveBack(host);
  }

  #sendAway(key: number): void {
    this.#sentAway.add(key);
    if (this.#sentAway.size <= MAX_SENT_AWAY) return;
    for (const oldest of this.#sentAway) {
      this.#sentAway.delete(oldest);
      break;
    }
  }

  /** May this network, which is where it says, have one more? Where the table is full, another's may have to go. */
  #hasRoom(from: Address, now: number): boolean {
    const { most, mostPerPrefix } = this.#limits;
    const prefix = prefixOf(from.host);
    const own = this.#halfOpen.of(prefix);
    if (own >= mostPerPrefix || !this.#proven.take(from.host, now)) return false;
    return this.count < most || this.#halfOpen.makeRoom(own, now - MIN_AGE);
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
