/**
 * The UDP socket that works wherever Deno does: `Deno.listenDatagram` and nothing else.
 * @module
 */
import type { Address, Bytes } from "../core/mod.ts";
import { bind, type Listener } from "./listen.ts";
import { PortableReceiver } from "./portable_receiver.ts";
import { checkTrain, datagramsIn } from "./train.ts";
import { LoopTurn } from "./turn.ts";
import { type DatagramHandler, newCounters, type UdpSocket } from "./udp_socket.ts";

/**
 * Datagrams on their way into the kernel (Deno sends asynchronously, so each is copied, and waits for the one before
 * it, as Deno would reorder them): so many that wait, and once more so many whose turn has come, a few hundred KiB
 * each. When full, `send` takes no more.
 */
const MAX_PENDING = 256;

/** Datagrams sent before going back to the event loop. */
const MAX_PER_TURN = 64;

/** Makes a portable socket of `listener`. Where `::` means IPv6 alone (Windows), opens a second one for IPv4. */
export function portableSocket(listener: Listener): UdpSocket {
  let other: Listener | undefined;
  if (listener.local.host === "::") {
    try {
      other = bind("0.0.0.0", listener.local.port);
    } catch {
      // Taken, by the first one itself: it has both families.
    }
  }
  return new PortableSocket(listener, other?.socket);
}

/** One datagram that waits for its turn. */
interface Pending {
  readonly socket: Deno.DatagramConn;
  readonly datagram: Bytes;
  readonly address: Deno.NetAddr;
}

class PortableSocket implements UdpSocket {
  readonly kind = "portable";
  readonly local: Address;
  readonly counters = newCounters();
  readonly #main: Deno.DatagramConn;
  /** For IPv4 alone, where the main one is IPv6 alone. */
  readonly #v4: Deno.DatagramConn | undefined;
  readonly #turn = new LoopTurn();
  #receivers: PortableReceiver[] | undefined;
  #pending: Pending[] = [];
  #sending = false;
  #drained: PromiseWithResolvers<void> | undefined;
  #closed = false;

  constructor({ socket, local }: Listener, v4: Deno.DatagramConn | undefined) {
    this.#main = socket;
    this.local = local;
    this.#v4 = v4;
  }

  receive(handler: DatagramHandler): void {
    if (this.#receivers) throw new TypeError("Cannot receive twice on one socket");
    this.#receivers = [];
    if (this.#closed) return;
    for (const socket of this.#v4 ? [this.#main, this.#v4] : [this.#main]) {
      const receiver = new PortableReceiver(socket, this.counters, handler);
      this.#receivers.push(receiver);
      void receiver.run();
    }
  }

  send(to: Address, data: Uint8Array, segmentSize: number): number {
    checkTrain(data, segmentSize);
    if (data.length === 0 || this.#closed) return data.length;
    if (this.local.family === 4 && to.family === 6) {
      this.counters.sendErrors += datagramsIn(data.length, segmentSize);
      return data.length;
    }
    const mapped = this.local.family === 6 && to.family === 4 && !this.#v4;
    const socket = to.family === 4 && this.#v4 ? this.#v4 : this.#main;
    const address: Deno.NetAddr = {
      transport: "udp",
      hostname: mapped ? `::ffff:${to.host}` : to.host,
      port: to.port,
    };
    let offset = 0;
    while (offset < data.length && this.#pending.length < MAX_PENDING) {
      const datagram = new Uint8Array(data.subarray(offset, offset + segmentSize));
      offset += datagram.length;
      this.#pending.push({ socket, datagram, address });
    }
    if (offset < data.length) this.counters.sendBlocked++;
    if (!this.#sending) void this.#sendPending();
    return offset;
  }

  async #sendPending(): Promise<void> {
    this.#sending = true;
    while (this.#pending.length > 0) {
      const batch = this.#pending;
      this.#pending = [];
      for (const [i, { socket, datagram, address }] of batch.entries()) {
        // Deno may send them all without going back to the event loop, and nobody would receive meanwhile.
        if (i % MAX_PER_TURN === MAX_PER_TURN - 1) await this.#turn.next();
        const sent = await socket.send(datagram, address).catch(() => -1);
        if (sent === datagram.length) {
          this.counters.datagramsOut++;
          this.counters.bytesOut += sent;
        } else this.counters.sendErrors++;
      }
      this.#drained?.resolve();
      this.#drained = undefined;
    }
    this.#sending = false;
    if (this.#closed) this.#release();
  }

  writable(): Promise<void> {
    if (this.#closed || this.#pending.length < MAX_PENDING) return Promise.resolve();
    this.#drained ??= Promise.withResolvers();
    return this.#drained.promise;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const receiver of this.#receivers ?? []) receiver.close();
    this.#drained?.resolve();
    // A last word (the engine's CONNECTION_CLOSE) that was taken still leaves, as with a socket of the kernel's.
    if (!this.#sending) this.#release();
  }

  #release(): void {
    this.#turn.close();
    this.#main.close();
    this.#v4?.close();
  }
}
