/**
 * Buffers that pipes borrow while they move bytes, so that an idle flow holds nothing and a busy one copies in large pieces.
 * @module
 */
import type { Bytes } from "../core/mod.ts";

/**
 * Sizes, in bytes. The smallest is for chats, and for the many: in a crowd of flows each gets a packet or two at a time. The
 * largest makes the price of a system call disappear.
 */
const SIZES = [4 * 1024, 32 * 1024, 256 * 1024] as const;

/** Buffers of each size that are kept for the next borrower: 1, 4 and 8 MiB; more are left to the garbage collector. */
const MAX_KEPT = [256, 128, 32] as const;

/** The largest that are lent at a time: 16 MiB in all; who comes later makes do with the size below. */
const MAX_LARGE = 64;

const LARGE = SIZES.length - 1;

const kept: Bytes[][] = SIZES.map(() => []);
let largeLent = 0;

/** Borrows one of the largest; its content is whatever it was. */
export function borrowBuffer(): Bytes {
  largeLent++;
  return take(LARGE);
}

/** Gives back what {@linkcode borrowBuffer} gave; it must not be used again. */
export function returnBuffer(buffer: Bytes): void {
  largeLent--;
  give(LARGE, buffer);
}

function take(size: number): Bytes {
  return kept[size]!.pop() ?? new Uint8Array(SIZES[size]!);
}

function give(size: number, buffer: Bytes): void {
  if (kept[size]!.length < MAX_KEPT[size]!) kept[size]!.push(buffer);
}

/** A buffer of one pipe: larger when it was filled, smaller when it was not. */
export class PipeBuffer {
  /** The size that it should have. */
  #wanted = 0;
  /** The size that it has. */
  #size = 0;
  #buffer: Bytes | undefined;

  /** The buffer, borrowed where it is not in hand. */
  take(): Bytes {
    if (this.#buffer && this.#size === this.#wanted) return this.#buffer;
    this.release();
    const fits = this.#wanted < LARGE || largeLent < MAX_LARGE;
    this.#size = fits ? this.#wanted : LARGE - 1;
    if (this.#size === LARGE) largeLent++;
    return this.#buffer = take(this.#size);
  }

  /** So many bytes were put into it: what size would be better next time? */
  used(length: number): void {
    if (length === SIZES[this.#size]) this.#wanted = Math.min(LARGE, this.#size + 1);
    else if (this.#size > 0 && length < SIZES[this.#size - 1]! / 2) this.#wanted = this.#size - 1;
  }

  /** Gives it back while it is not needed; it must not be used until it is taken again. */
  release(): void {
    if (!this.#buffer) return;
    if (this.#size === LARGE) largeLent--;
    give(this.#size, this.#buffer);
    this.#buffer = undefined;
  }
}
