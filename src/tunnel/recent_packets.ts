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
/** Trains kept, and bytes in them: what interactive programs send until a path is found dead. The oldest gives way. */
const MAX_TRAINS = 64;
const MAX_BYTES = 16 * 1024;
/** What is older was answered while the path still lived, or is lost for good. */
const MAX_AGE: Millis = 500;

interface Train {
  readonly data: Uint8Array;
  readonly segmentSize: number;
  readonly at: Millis;
}

/** See the module's head. */
export class RecentPackets {
  /** Oldest first. */
  #trains: Train[] = [];
  #bytes = 0;

  /** A train left on the direct path. */
  sent(data: Uint8Array, segmentSize: number, now: Millis): void {
    if (data.length > MAX_TRAIN) return;
    this.#trains.push({ data: data.slice(), segmentSize, at: now });
    this.#bytes += data.length;
    while (this.#trains.length > MAX_TRAINS || this.#bytes > MAX_BYTES) {
      this.#bytes -= this.#trains.shift()!.data.length;
    }
  }

  /** The packets that the other end may not have got, in order. Answers each once. */
  take(now: Millis): Uint8Array[] {
    const packets = this.sentSince(now - MAX_AGE);
    this.clear();
    return packets;
  }

  /** The packets that left at `time` or later, in order. */
  sentSince(time: Millis): Uint8Array[] {
    const packets: Uint8Array[] = [];
    for (const { data, segmentSize, at } of this.#trains) {
      if (at < time) continue;
      for (let from = 0; from < data.length; from += segmentSize) {
        packets.push(data.subarray(from, from + segmentSize));
      }
    }
    return packets;
  }

  /** Nothing of this is of interest any more. */
  clear(): void {
    this.#trains = [];
    this.#bytes = 0;
  }
}
