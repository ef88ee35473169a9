/**
 * The one interface behind which every UDP socket of ours stands: portable, Linux-batched, or in memory.
 *
 * The unit is a *train*: datagrams of one size, back to back in one buffer, to or from one address; only the last may
 * be shorter. It is what UDP_SEGMENT sends and what a portable socket sends one by one.
 * @module
 */
import type { Address } from "../core/address.ts";

/** Takes what arrives on a socket. The arrays are reused: copy what must outlive the call. */
export interface DatagramHandler {
  /**
   * One train arrived: `data` holds datagrams of `segmentSize` bytes back to back, the last may be shorter.
   * A single datagram has `segmentSize === data.length`. Empty datagrams are never handed on.
   */
  datagrams(data: Uint8Array, segmentSize: number, from: Address): void;
  /** All that was waiting has been handed over: time to answer. */
  batchEnd(): void;
}

/** What a socket has counted since it was opened. */
export interface UdpCounters {
  datagramsIn: number;
  datagramsOut: number;
  bytesIn: number;
  bytesOut: number;
  /** Datagrams that the kernel refused for good (unreachable network, too large for the interface …). */
  sendErrors: number;
  /** How often the kernel's send buffer was full. */
  sendBlocked: number;
}

/** Counters at zero. */
export function newCounters(): UdpCounters {
  return {
    datagramsIn: 0,
    datagramsOut: 0,
    bytesIn: 0,
    bytesOut: 0,
    sendErrors: 0,
    sendBlocked: 0,
  };
}

/** A bound UDP socket. Dual-stack where the system has IPv6: IPv4 peers appear as IPv4. */
export interface UdpSocket {
  /** How it works inside. */
  readonly kind: "batched" | "portable" | "memory";
  /** Where it is bound, with the port that the system chose if 0 was asked for. */
  readonly local: Address;
  readonly counters: Readonly<UdpCounters>;
  /** Starts receiving; called once. The handler runs on the event loop, never inside {@linkcode send}. */
  receive(handler: DatagramHandler): void;
  /**
   * Sends one train. Answers how many bytes were taken (whole datagrams, from the front): all of them, or fewer when
   * the send buffer is full; then wait for {@linkcode writable} and send the rest. Datagrams that can never be sent
   * (no route, too large) count as taken and as `sendErrors`, as the network would have lost them.
   * `data` may be reused as soon as the call returns.
   */
  send(to: Address, data: Uint8Array, segmentSize: number): number;
  /** Resolves when it is worth calling {@linkcode send} again. */
  writable(): Promise<void>;
  /** Stops; idempotent. What was taken by {@linkcode send} may still leave. */
  close(): void;
}

/** How to open a socket. */
export interface UdpSocketOptions {
  /** Address to bind. @default "::" (both families), or "0.0.0.0" where the system has no IPv6 */
  readonly host?: string;
  /** Port to bind; 0 lets the system choose. @default 0 */
  readonly port?: number;
  /** Kernel buffer sizes in bytes, where the system lets us set them. @default 4 MiB */
  readonly bufferBytes?: number;
  /** Leave the batched implementation aside even where it would work. @default false */
  readonly portable?: boolean;
  /**
   * Answer every peer from the very address of this machine that it wrote to, where the socket is bound to all of them
   * and the system lets us (Linux, batched). For sockets that others write to first. `false`: the system chooses the
   * address each time by its routes, as suits sockets that write first, from a machine that changes networks.
   * @default true
   */
  readonly answerFromAsked?: boolean;
}
