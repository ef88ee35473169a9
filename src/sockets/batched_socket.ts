/**
 * The fast UDP socket of Linux: Deno owns it and waits on it, libc sends trains and drains what waits.
 *
 * Waiting through Deno costs 13 µs and holds no thread; every call into libc is non-blocking.
 * @module
 */
import type { Address } from "../core/mod.ts";
import { BatchedReceiver, MAX_MESSAGES } from "./batched_receiver.ts";
import { BatchedSender } from "./batched_sender.ts";
import { checkTrain } from "./train.ts";
import { findDescriptor } from "./descriptor.ts";
import {
  getOption,
  type LoadedLibc,
  loadLibc,
  PMTUDISC_PROBE,
  setOption,
  SocketOption,
} from "./libc.ts";
import type { Listener } from "./listen.ts";
import { addressOfPeer } from "./sockaddr.ts";
import { LoopTurn, Sleep } from "./turn.ts";
import {
  type DatagramHandler,
  newCounters,
  type UdpCounters,
  type UdpSocket,
} from "./udp_socket.ts";

/** Kernel buffers of this size hold 25 ms of 1 Gbit/s: a pause of the event loop loses nothing. */
const DEFAULT_BUFFER_BYTES = 4 << 20;

/** How long to leave a full send buffer alone: there is no way to wait for room without a thread, and it empties fast. */
const BLOCKED_MILLISECONDS = 1;

/** After this many errors in a row from waiting, wait a little before the next try. */
const PATIENT_ERRORS = 16;

/** How to make a {@linkcode BatchedSocket}. */
export interface BatchedOptions {
  /** Kernel buffer sizes in bytes. @default 4 MiB */
  readonly bufferBytes?: number;
  /** `false`: do without UDP_SEGMENT, as on a kernel that has none. @default true */
  readonly segmentation?: boolean;
  /** Where to count, for sockets that count together. @default counters of its own */
  readonly counters?: UdpCounters;
}

/** A batched socket, with its descriptor: good until it is closed. */
export interface BatchedUdpSocket extends UdpSocket {
  readonly fd: number;
}

/**
 * Makes a batched socket of `listener`, or answers `undefined` (and leaves it alone) where that cannot be done:
 * not Linux, no FFI, descriptor not found, or IPv6 only.
 */
export function batchedSocket(
  listener: Listener,
  options: BatchedOptions = {},
): BatchedUdpSocket | undefined {
  const libc = loadLibc();
  if (!libc) return undefined;
  const fd = findDescriptor(libc, listener.local);
  if (fd === undefined) return undefined;
  // A system may make "::" mean IPv6 alone; the portable socket then opens a second one for IPv4.
  if (listener.local.host === "::" && getOption(libc, fd, SocketOption.IPV6_V6ONLY) !== 0) {
    return undefined;
  }
  return new BatchedSocket(libc, fd, listener, options);
}

class BatchedSocket implements BatchedUdpSocket {
  readonly kind = "batched";
  readonly local: Address;
  readonly fd: number;
  readonly counters: UdpCounters;
  readonly #listener: Deno.DatagramConn;
  readonly #sender: BatchedSender;
  readonly #receiver: BatchedReceiver;
  readonly #turn = new LoopTurn();
  readonly #pause = new Sleep();
  readonly #blocked = new Sleep();
  #writable: Promise<void> | undefined;
  #receiving = false;
  #closed = false;

  constructor(libc: LoadedLibc, fd: number, listener: Listener, options: BatchedOptions) {
    this.local = listener.local;
    this.fd = fd;
    this.#listener = listener.socket;
    const counters = this.counters = options.counters ?? newCounters();
    const family = listener.local.family;
    this.#sender = new BatchedSender(libc, {
      fd,
      family,
      counters,
      segmentation: options.segmentation ?? true,
    });
    this.#receiver = new BatchedReceiver(libc, { fd, counters });
    configure(libc, fd, family, options.bufferBytes ?? DEFAULT_BUFFER_BYTES);
  }

  receive(handler: DatagramHandler): void {
    if (this.#receiving) throw new TypeError("Cannot receive twice on one socket");
    this.#receiving = true;
    if (!this.#closed) void this.#run(handler);
  }

  /**
   * The event-loop rule, held here for everything that hangs on a socket: after {@linkcode MAX_MESSAGES} datagrams and
   * the answers to them, go back to the event loop (never by a microtask). The engine makes a native object per packet
   * sent, and Deno runs their finalizers there and only there; a loop that stays away piles them up, and each packet
   * then costs more than the last (4 µs become 70). Other sockets, timers and flows get their turn there, too.
   */
  async #run(handler: DatagramHandler): Promise<void> {
    // Deno's `receive` cuts off what is longer than this, so it is as long as a datagram can be.
    const buffer = new Uint8Array(65_536);
    let errors = 0;
    let sinceTurn = 0;
    while (!this.#closed) {
      let first: [Uint8Array, Deno.Addr] | undefined;
      try {
        first = await this.#listener.receive(buffer);
        errors = 0;
      } catch (error) {
        if (this.#closed || error instanceof Deno.errors.BadResource) return;
        // An ICMP message about one peer comes out here as an error; the socket is as good as before.
        if (++errors > PATIENT_ERRORS) await this.#pause.start(10);
      }
      if (this.#closed) return;
      if (first) this.#handOn(handler, first[0], first[1] as Deno.NetAddr);
      let count = MAX_MESSAGES;
      while (count === MAX_MESSAGES) {
        count = this.#receiver.drain(handler);
        if (this.#closed) return;
        handler.batchEnd();
        // Deno's `receive` may answer at once and without the event loop too, so small batches add up.
        sinceTurn += 1 + count;
        if (sinceTurn < MAX_MESSAGES) continue;
        sinceTurn = 0;
        await this.#turn.next();
        if (this.#closed) return;
      }
    }
  }

  #handOn(handler: DatagramHandler, data: Uint8Array, from: Deno.NetAddr): void {
    this.counters.datagramsIn++;
    this.counters.bytesIn += data.length;
    this.#receiver.hint(data.length);
    if (data.length > 0) handler.datagrams(data, data.length, addressOfPeer(from));
  }

  send(to: Address, data: Uint8Array, segmentSize: number): number {
    checkTrain(data, segmentSize);
    if (data.length === 0 || this.#closed) return data.length;
    return this.#sender.send(to, data, segmentSize);
  }

  writable(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#writable ??= this.#blocked.start(BLOCKED_MILLISECONDS).finally(() => {
      this.#writable = undefined;
    });
    return this.#writable;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#receiver.close();
    this.#turn.close();
    this.#pause.cancel();
    this.#blocked.cancel();
    this.#listener.close();
  }
}

function configure(libc: LoadedLibc, fd: number, family: 4 | 6, bufferBytes: number): void {
  // Was set, if at all, only to bind beside a socket of ours: from here on nobody else may bind this port.
  setOption(libc, fd, SocketOption.REUSEADDR, 0);
  // The FORCE forms go beyond the system's limit and need privilege; without it we get as much as the limit allows.
  for (const [force, plain] of BUFFER_OPTIONS) {
    if (!setOption(libc, fd, force, bufferBytes)) setOption(libc, fd, plain, bufferBytes);
  }
  setOption(libc, fd, SocketOption.IP_MTU_DISCOVER, PMTUDISC_PROBE);
  if (family === 6) setOption(libc, fd, SocketOption.IPV6_MTU_DISCOVER, PMTUDISC_PROBE);
}

const BUFFER_OPTIONS = [
  [SocketOption.RCVBUFFORCE, SocketOption.RCVBUF],
  [SocketOption.SNDBUFFORCE, SocketOption.SNDBUF],
] as const;
