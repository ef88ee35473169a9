/**
 * Receives up to 64 datagrams with one `recvmmsg`, laid out so that datagrams of one size from one address lie back to
 * back and are handed on as one train, without copying.
 *
 * Each message has two places: `expected` bytes in the *row*, right behind the message before it, and the rest in a
 * slot of its own. A datagram of the expected size fills its place in the row exactly, so a run of them is one train;
 * a shorter one ends the run, and may be its last. Only a longer one must be put together (its head is copied in
 * front of its rest); the expected size then grows with it.
 *
 * ```text
 * row    [message 0: expected][message 1: expected] ...
 * slots  [65,536: head copied here | rest of message 0][65,536: ...] ...
 * ```
 *
 * UDP_GRO would hand trains over ready-made, but it cannot be had safely: what Deno's own waiting `receive` returns may
 * then be a train, too, and does not tell the segment size; and switching GRO on for the time of a drain alone races with
 * packets that are just being queued. A glued train must never pass for one datagram.
 * @module
 */
import type { Address } from "../core/mod.ts";
import { IOVEC_SIZE, type LoadedLibc, MMSGHDR, MSG_DONTWAIT, NativeMemory } from "./libc.ts";
import { SOCKADDR_SLOT, SockaddrReader } from "./sockaddr.ts";
import type { DatagramHandler, UdpCounters } from "./udp_socket.ts";

/** Messages in one `recvmmsg`: also the most that are handed on before going back to the event loop. */
export const MAX_MESSAGES = 64;

/** No UDP datagram is longer. */
const SLOT = 65_536;

/** The expected size never grows beyond this (jumbo frames have 9,000): what is longer is copied in part. */
const MAX_EXPECTED = 16_384;

/** Expected at first: what fits Ethernet. */
const FIRST_EXPECTED = 1472;

// Where each structure lies in the block of headers.
const NAMES = 0;
const HEADERS = NAMES + MAX_MESSAGES * SOCKADDR_SLOT;
const IOVECS = HEADERS + MAX_MESSAGES * MMSGHDR.SIZE;
const HEADERS_TOTAL = IOVECS + MAX_MESSAGES * 2 * IOVEC_SIZE;

/** The receiving half of a batched socket: 5 MiB of address space, of which the kernel backs only what is used. */
export class BatchedReceiver {
  readonly #libc: LoadedLibc;
  readonly #fd: number;
  readonly #counters: UdpCounters;
  readonly #memory = new NativeMemory(HEADERS_TOTAL);
  readonly #words = new Uint32Array(this.#memory.bytes.buffer);
  readonly #headers = this.#memory.at(HEADERS);
  readonly #row = new NativeMemory(MAX_MESSAGES * MAX_EXPECTED);
  readonly #slots = new NativeMemory(MAX_MESSAGES * SLOT);
  readonly #names = new SockaddrReader(
    this.#memory.bytes.subarray(NAMES, NAMES + MAX_MESSAGES * SOCKADDR_SLOT),
  );
  #expected = 0;
  #guessed = true;
  #closed = false;

  constructor(libc: LoadedLibc, socket: { fd: number; counters: UdpCounters }) {
    this.#libc = libc;
    this.#fd = socket.fd;
    this.#counters = socket.counters;
    for (let i = 0; i < MAX_MESSAGES; i++) {
      const header = HEADERS + i * MMSGHDR.SIZE;
      const iovec = IOVECS + i * 2 * IOVEC_SIZE;
      this.#memory.writeLong(
        header + MMSGHDR.NAME,
        this.#memory.address + NAMES + i * SOCKADDR_SLOT,
      );
      this.#memory.writeLong(header + MMSGHDR.IOV, this.#memory.address + iovec);
      this.#memory.writeLong(header + MMSGHDR.IOV_COUNT, 2);
      this.#words[(header + MMSGHDR.NAME_LENGTH) >> 2] = SOCKADDR_SLOT;
    }
    this.#expect(FIRST_EXPECTED);
  }

  /** Nothing is handed on any more, not even what is being drained at this moment. */
  close(): void {
    this.#closed = true;
  }

  /** Lays every message out for datagrams of `size` bytes. */
  #expect(size: number): void {
    if (size === this.#expected) return;
    this.#expected = size;
    for (let i = 0; i < MAX_MESSAGES; i++) {
      const iovec = IOVECS + i * 2 * IOVEC_SIZE;
      this.#memory.writeLong(iovec, this.#row.address + i * size);
      this.#memory.writeLong(iovec + 8, size);
      this.#memory.writeLong(iovec + 16, this.#slots.address + i * SLOT + size);
      this.#memory.writeLong(iovec + 24, SLOT - size);
    }
  }

  /** A datagram of `size` bytes has arrived by another way: what comes right behind it likely has that size, too. */
  hint(size: number): void {
    if (size > this.#expected || (this.#guessed && size > 0)) {
      this.#expect(Math.min(size, MAX_EXPECTED));
    }
    this.#guessed = false;
  }

  /**
   * Hands on what waits, {@linkcode MAX_MESSAGES} datagrams at most.
   *
   * @returns how many datagrams there were; fewer than {@linkcode MAX_MESSAGES}: none was left waiting
   */
  drain(handler: DatagramHandler): number {
    const count = this.#libc.call.recvmmsg(
      this.#fd,
      this.#headers,
      MAX_MESSAGES,
      MSG_DONTWAIT,
      null,
    );
    // Nothing there, or an error that concerns one peer (an ICMP message): either way there is nothing to hand on.
    if (count <= 0) return 0;
    const words = this.#words;
    const expected = this.#expected;
    let largest = 0;
    let runStart = 0;
    let runLength = 0;
    let runFrom: Address | undefined;
    for (let i = 0; i < count && !this.#closed; i++) {
      const header = (HEADERS + i * MMSGHDR.SIZE) >> 2;
      const length = words[header + (MMSGHDR.LENGTH >> 2)]!;
      const nameLength = words[header + (MMSGHDR.NAME_LENGTH >> 2)]!;
      // The kernel has put the real length there: make room for the next one.
      words[header + (MMSGHDR.NAME_LENGTH >> 2)] = SOCKADDR_SLOT;
      if (length > largest) largest = length;
      this.#counters.datagramsIn++;
      this.#counters.bytesIn += length;
      const continues = runFrom !== undefined && length <= expected && length > 0 &&
        this.#names.same(i - 1, i, nameLength);
      if (continues) {
        runLength += length;
        if (length < expected) {
          this.#handOn(handler, runStart, runLength, runFrom!);
          runFrom = undefined;
        }
        continue;
      }
      if (runFrom) this.#handOn(handler, runStart, runLength, runFrom);
      runFrom = undefined;
      if (length === 0) continue;
      const from = this.#names.at(i, nameLength);
      if (!from) continue;
      if (length === expected) {
        runStart = i;
        runLength = length;
        runFrom = from;
      } else if (length < expected) {
        const start = i * expected;
        handler.datagrams(this.#row.bytes.subarray(start, start + length), length, from);
      } else {
        const start = i * SLOT;
        this.#slots.bytes.set(this.#row.bytes.subarray(i * expected, (i + 1) * expected), start);
        handler.datagrams(this.#slots.bytes.subarray(start, start + length), length, from);
      }
    }
    if (runFrom && !this.#closed) this.#handOn(handler, runStart, runLength, runFrom);
    // Grow at once; shrink only on the word of a good many, as acknowledgements come between full packets.
    if (largest > expected || count > MAX_MESSAGES / 4) {
      this.#expect(Math.min(Math.max(largest, 1), MAX_EXPECTED));
    }
    return count;
  }

  #handOn(handler: DatagramHandler, first: number, length: number, from: Address): void {
    const start = first * this.#expected;
    const segmentSize = Math.min(this.#expected, length);
    handler.datagrams(this.#row.bytes.subarray(start, start + length), segmentSize, from);
  }
}
