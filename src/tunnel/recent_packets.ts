/**
 * The last small packets that went along a direct path, kept for the case that it is dead: when the tunnel has moved to the relayed
 * one they go once more, as they were. What has arrived is dropped there; what has not arrives half a round trip later. QUIC alone
 * would find out a round trip later what was lost, and send it again then; and all that follows in the same flows waits for it.
 *
 * Bulk transfers do without: theirs are many, and such a burst would fill the other path's queue.
 * @module
 */
import type { Millis } from "../core/mod.ts";

/** Larger trains are bulk, in bytes. */
const MAX_TRAIN = 4096;
/** Trains kept: what interactive programs send until a path is found dead. The oldest gives way. */
const MAX_TRAINS = 64;
/** What is older was answered while the path still lived, or is lost for good. */
const MAX_AGE: Millis = 500;
/** Sent again at a time, in bytes: as much as a connection may send at its start, about (RFC 9002 §7.2 has 10 packets). */
const MAX_BYTES = 16 * 1024;

interface Train {
  readonly data: Uint8Array;
  readonly segmentSize: number;
  readonly at: Millis;
}

/** See the module's head. */
export class RecentPackets {
  readonly #trains: Train[] = [];
  #next = 0;

  /** A train left on the direct path. */
  sent(data: Uint8Array, segmentSize: number, now: Millis): void {
    if (data.length > MAX_TRAIN) return;
    this.#trains[this.#next] = { data: data.slice(), segmentSize, at: now };
    this.#next = (this.#next + 1) % MAX_TRAINS;
  }

  /** The packets that the other end may not have got, in order. Answers each once. */
  take(now: Millis): Uint8Array[] {
    const packets: Uint8Array[] = [];
    let bytes = 0;
    const count = this.#trains.length;
    for (let i = 0; i < count; i++) {
      const { data, segmentSize, at } = this.#trains[(this.#next + i) % count]!;
      if (now - at > MAX_AGE) continue;
      for (let from = 0; from < data.length; from += segmentSize) {
        const packet = data.subarray(from, from + segmentSize);
        bytes += packet.length;
        if (bytes > MAX_BYTES) break;
        packets.push(packet);
      }
    }
    this.clear();
    return packets;
  }

  /** Nothing of this is of interest any more. */
  clear(): void {
    this.#trains.length = 0;
    this.#next = 0;
  }
}
