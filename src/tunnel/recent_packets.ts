/**
 * The last small packets of a direct path, kept for the case that it falls silent: then they go once more, by way of the
 * relay, and what follows with them. So a person at a keyboard does not wait until a dead path is known to be dead.
 *
 * ```
 * 02 tunnel-id[8] 07 QUIC packet
 * ```
 *
 * To QUIC such a packet has come on the direct path, late or twice. Bulk transfers do without: theirs are many, and the engine
 * sends them again when the tunnel has moved.
 * @module
 */
import type { Millis } from "../core/mod.ts";

/** First byte inside a sealed datagram: a packet of the direct path follows. */
export const BORROWED_TYPE = 0x07;

/** Larger trains are bulk, in bytes. */
const MAX_TRAIN = 4096;
/** Trains kept: more than interactive programs send in a round trip. The oldest gives way. */
const MAX_TRAINS = 32;
/** Older ones were answered long ago, or are lost for good. */
const MAX_AGE: Millis = 400;
/** Sent by way of the relay in one silence, in bytes: it ends soon, one way or the other. */
const MAX_SILENCE_BYTES = 64 * 1024;

interface Train {
  readonly data: Uint8Array;
  readonly segmentSize: number;
  readonly at: Millis;
}

/** See the module's head. */
export class RecentPackets {
  readonly #send: (packet: Uint8Array) => void;
  readonly #trains: Train[] = [];
  #next = 0;
  #silent = false;
  #budget = 0;

  /** `send` takes a packet on its way around. */
  constructor(send: (packet: Uint8Array) => void) {
    this.#send = send;
  }

  /** A train left on the direct path. */
  sent(data: Uint8Array, segmentSize: number, now: Millis): void {
    if (data.length > MAX_TRAIN) return;
    const train = { data: data.slice(), segmentSize, at: now };
    this.#trains[this.#next] = train;
    this.#next = (this.#next + 1) % MAX_TRAINS;
    if (this.#silent) this.#around(train);
  }

  /** The other end has fallen silent, or is silent still: what it may not have got goes around, and what follows. */
  silent(now: Millis): void {
    this.#silent = true;
    this.#budget = MAX_SILENCE_BYTES;
    for (let i = 0; i < this.#trains.length; i++) {
      const train = this.#trains[(this.#next + i) % this.#trains.length]!;
      if (now - train.at <= MAX_AGE) this.#around(train);
    }
  }

  /** It is heard again, or the tunnel has moved. */
  heard(): void {
    this.#silent = false;
  }

  /** The path is another one. */
  clear(): void {
    this.#silent = false;
    this.#trains.length = 0;
    this.#next = 0;
  }

  #around({ data, segmentSize }: Train): void {
    this.#budget -= data.length;
    if (this.#budget < 0) return;
    for (let at = 0; at < data.length; at += segmentSize) {
      this.#send(data.subarray(at, at + segmentSize));
    }
  }
}
