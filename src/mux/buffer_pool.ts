/**
 * Buffers that pipes borrow while they move bytes, so that an idle flow holds little and a busy one copies in large pieces.
 * @module
 */
import type { Bytes } from "../core/mod.ts";

/** Size of a lent buffer, in bytes: large enough that a system call's price does not show. */
export const POOLED_BUFFER_BYTES = 256 * 1024;

/** Buffers kept for the next borrower: 32 of them (8 MiB); more are left to the garbage collector. */
const MAX_KEPT = 32;
const kept: Bytes[] = [];

/** Borrows a buffer of {@linkcode POOLED_BUFFER_BYTES}; its content is whatever it was. */
export function borrowBuffer(): Bytes {
  return kept.pop() ?? new Uint8Array(POOLED_BUFFER_BYTES);
}

/** Gives a buffer back; it must not be used again. */
export function returnBuffer(buffer: Bytes): void {
  if (kept.length < MAX_KEPT) kept.push(buffer);
}
