/**
 * What several tests of sockets need.
 * @module
 */
import { type Address, addressOf } from "../../src/core/mod.ts";
import type { DatagramHandler, UdpSocket } from "../../src/sockets/mod.ts";

/** Remembers what arrived, as copies, one entry per datagram and one per train. */
export class Recorder implements DatagramHandler {
  readonly datagramsSeen: { data: Uint8Array; from: Address }[] = [];
  readonly trains: { length: number; segmentSize: number }[] = [];
  batches = 0;
  #waiting: { count: number; resolve: () => void } | undefined;

  datagrams(data: Uint8Array, segmentSize: number, from: Address): void {
    this.trains.push({ length: data.length, segmentSize });
    for (let at = 0; at < data.length; at += segmentSize) {
      this.datagramsSeen.push({ data: data.slice(at, at + segmentSize), from });
    }
  }

  batchEnd(): void {
    this.batches++;
    if (this.#waiting && this.datagramsSeen.length >= this.#waiting.count) {
      this.#waiting.resolve();
      this.#waiting = undefined;
    }
  }

  /** Resolves when a batch has ended and at least `count` datagrams have arrived since the start. */
  async arrived(count: number): Promise<void> {
    if (this.datagramsSeen.length >= count) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting = { count, resolve };
    // A backstop against hanging for ever, not a measurement.
    const limit = setTimeout(
      () => reject(new Error(`Only ${this.datagramsSeen.length} of ${count} datagrams arrived`)),
      10_000,
    );
    await promise.finally(() => clearTimeout(limit));
  }
}

/** The socket's port on the loopback address of one family: where to reach it. */
export function loopback(socket: UdpSocket, family: 4 | 6 = 4): Address {
  return addressOf(family === 4 ? "127.0.0.1" : "::1", socket.local.port);
}

/** Sends everything, waiting where the socket is full. */
export async function sendAll(
  socket: UdpSocket,
  to: Address,
  data: Uint8Array,
  segmentSize: number,
): Promise<void> {
  for (let offset = 0; offset < data.length;) {
    offset += socket.send(to, data.subarray(offset), segmentSize);
    if (offset < data.length) await socket.writable();
  }
}

/** `length` bytes that differ from their neighbours, so that a shift shows. */
export function pattern(length: number, seed = 0): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 8) * 7 + seed) & 0xff;
  return bytes;
}

/** Whether this machine can use IPv6 on loopback. */
export const HAS_IPV6 = (() => {
  try {
    Deno.listenDatagram({ hostname: "::1", port: 0, transport: "udp" }).close();
    return true;
  } catch {
    console.log("skipped: IPv6 tests, as this machine has no IPv6 loopback");
    return false;
  }
})();
