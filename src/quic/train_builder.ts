/**
 * Packs packets back to back so that one system call sends them all.
 *
 * ```
 * | prefix | packet | prefix | packet | ... | prefix | shorter packet |
 * |<- segment size ->|                        the last may be shorter
 * ```
 * @module
 */
import type { Bytes } from "../core/mod.ts";

/** Largest UDP payload over IPv4, which also bounds what one UDP_SEGMENT call may carry. */
const MAX_TRAIN_BYTES = 65_507;
/** Segments that one UDP_SEGMENT call may carry (UDP_MAX_SEGMENTS before Linux 6.9). */
const MAX_TRAIN_SEGMENTS = 64;

/** Datagrams of one size, back to back. */
export interface Train {
  readonly data: Bytes;
  readonly segmentSize: number;
}

/** Builds one train at a time in one buffer that everybody shares. */
export class TrainBuilder {
  readonly #buffer: Bytes = new Uint8Array(2 * 65_536);
  #start = 0;
  #end = 0;
  #segmentSize = 0;
  #count = 0;
  #closed = false;
  /** Length of a datagram behind the train that was too long for it; it begins the next one. */
  #pending = 0;

  /** Forgets everything. */
  begin(): void {
    this.#start =
      this.#end =
      this.#segmentSize =
      this.#count =
      this.#pending =
        0;
    this.#closed = false;
  }

  /** Where the engine writes the next packet: `size` bytes behind room for a prefix. */
  room(prefixLength: number, size: number): Bytes {
    const at = this.#end + prefixLength;
    return this.#buffer.subarray(at, at + size);
  }

  /**
   * The packet that was written into {@linkcode room} has `length` bytes. Answers whether more may follow in this train;
   * false: {@linkcode take} it first.
   */
  add(prefix: Uint8Array, length: number): boolean {
    if (prefix.length > 0) this.#buffer.set(prefix, this.#end);
    const datagram = prefix.length + length;
    if (this.#count > 0 && datagram > this.#segmentSize) {
      this.#pending = datagram;
      return false;
    }
    if (this.#count === 0) this.#segmentSize = datagram;
    this.#count++;
    this.#end += datagram;
    this.#closed = datagram < this.#segmentSize || this.#count === MAX_TRAIN_SEGMENTS ||
      this.#end - this.#start + this.#segmentSize > MAX_TRAIN_BYTES;
    return !this.#closed;
  }

  /** The train as it stands (good until the next {@linkcode begin} or {@linkcode add}); `undefined` when there is none. */
  take(): Train | undefined {
    if (this.#count === 0) return undefined;
    const train = {
      data: this.#buffer.subarray(this.#start, this.#end),
      segmentSize: this.#segmentSize,
    };
    const pending = this.#pending;
    if (pending > 0) {
      this.#start = this.#end;
      this.#end += pending;
      this.#segmentSize = pending;
      this.#count = 1;
      this.#pending = 0;
    } else {
      this.#start =
        this.#end =
        this.#count =
        this.#segmentSize =
          0;
    }
    this.#closed = false;
    return train;
  }
}
