/**
 * The way out of a control connection, which sends the first packets again while nobody answers. QUIC itself knows no round
 * trip yet and waits for 1 s, then 2 s (RFC 9002 §6.2.2): a relay that is just being restarted is back sooner.
 *
 * A relay with much to do sends whoever comes away for a token first (RFC 9000 §8.1.2). From then on it is the packets with that
 * token that are sent again: those before would be no use, and those may be lost, or find no room yet.
 * @module
 */
import type { Address } from "../core/mod.ts";
import { type Egress, hasRetryToken } from "../quic/mod.ts";

/** Between two sendings, in milliseconds: longer than nearly every round trip on earth. */
const RESEND_INTERVAL = 400;

/** An attempt is given up after 3 s at first, and 10 s at most; then QUIC's own timers have taken over. */
const MAX_RESENDS = 12;

/** Bytes kept: the hello and the first packets of a few tunnels. What exceeds it QUIC alone sends again. */
const MAX_BYTES = 16 * 1024;

/** See the module's head. */
export class FirstFlight implements Egress {
  readonly #way: Egress;
  readonly #heard: () => number;
  #sent: { local: Address; peer: Address; data: Uint8Array; segmentSize: number }[] | undefined =
    [];
  #bytes = 0;
  /** What the other end had said when what is kept was sent. */
  #heardBefore = 0;
  #sentAway = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `heard`: how many packets has the other end sent? Asked before each sending. */
  constructor(way: Egress, heard: () => number) {
    this.#way = way;
    this.#heard = heard;
    this.#arm(MAX_RESENDS);
  }

  packetSize(peer: Address): number {
    return this.#way.packetSize(peer);
  }

  prefix(peer: Address): Uint8Array {
    return this.#way.prefix(peer);
  }

  transmit(local: Address, peer: Address, data: Uint8Array, segmentSize: number): number {
    if (this.#sent && !this.#sentAway && this.#heard() > 0 && hasRetryToken(data)) {
      this.#sentAway = true;
      this.#heardBefore = this.#heard();
      this.#sent = [];
      this.#bytes = 0;
      clearTimeout(this.#timer);
      this.#arm(MAX_RESENDS);
    }
    if (this.#sent && this.#bytes + data.length <= MAX_BYTES) {
      this.#sent.push({ local, peer, data: data.slice(), segmentSize });
      this.#bytes += data.length;
    }
    return this.#way.transmit(local, peer, data, segmentSize);
  }

  writable(): Promise<void> {
    return this.#way.writable();
  }

  /** There was an answer, or the attempt is over: nothing is kept or sent again. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#sent = undefined;
  }

  #arm(left: number): void {
    this.#timer = setTimeout(() => {
      if (left === 0 || this.#heard() > this.#heardBefore) return this.stop();
      for (const { local, peer, data, segmentSize } of this.#sent ?? []) {
        this.#way.transmit(local, peer, data, segmentSize);
      }
      this.#arm(left - 1);
    }, RESEND_INTERVAL);
  }
}
