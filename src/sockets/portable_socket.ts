/**
 * The UDP socket that works wherever Deno does: `Deno.listenDatagram` and nothing else.
 * @module
 */
import type { Address, Bytes } from "../core/mod.ts";
import { bind, type Listener } from "./listen.ts";
import { checkTrain, datagramsIn } from "./train.ts";
import { addressOfPeer } from "./sockaddr.ts";
import { LoopTurn, Sleep } from "./turn.ts";
import type { DatagramHandler, UdpCounters, UdpSocket } from "./udp_socket.ts";

/**
 * Datagrams on their way into the kernel (Deno sends asynchronously, so each is copied, and waits for the one before
 * it, as Deno would reorder them): a few hundred KiB at most. When full, `send` takes no more.
 */
const MAX_PENDING = 256;

/** Datagrams handed on, or sent, before going back to the event loop. */
const MAX_PER_TURN = 64;

/** After this many errors in a row from receiving, wait a little before the next try. */
const PATIENT_ERRORS = 16;

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
  readonly counters: UdpCounters = {
    datagramsIn: 0,
    datagramsOut: 0,
    bytesIn: 0,
    bytesOut: 0,
    sendErrors: 0,
    sendBlocked: 0,
  };
  readonly #main: Deno.DatagramConn;
  /** For IPv4 alone, where the main one is IPv6 alone. */
  readonly #v4: Deno.DatagramConn | undefined;
  readonly #turn = new LoopTurn();
  readonly #pauses: Sleep[] = [];
  #pending: Pending[] = [];
  #sending = false;
  #drained: PromiseWithResolvers<void> | undefined;
  #receiving = false;
  #closed = false;

  constructor({ socket, local }: Listener, v4: Deno.DatagramConn | undefined) {
    this.#main = socket;
    this.local = local;
    this.#v4 = v4;
  }

  receive(handler: DatagramHandler): void {
    if (this.#receiving) throw new TypeError("Cannot receive twice on one socket");
    this.#receiving = true;
    if (this.#closed) return;
    void this.#run(handler, this.#main);
    if (this.#v4) void this.#run(handler, this.#v4);
  }

  /**
   * A batch is what arrives before the event loop has come round once: Deno does not say whether more is waiting.
   * The event-loop rule holds as for the batched socket (see there).
   */
  async #run(handler: DatagramHandler, socket: Deno.DatagramConn): Promise<void> {
    const pause = new Sleep();
    this.#pauses.push(pause);
    const buffer = new Uint8Array(65_536);
    let errors = 0;
    let inTurn = 0;
    let turned: Promise<void> | undefined;
    while (!this.#closed) {
      let received: [Uint8Array, Deno.Addr] | undefined;
      try {
        received = await socket.receive(buffer);
        errors = 0;
      } catch (error) {
        if (this.#closed || error instanceof Deno.errors.BadResource) return;
        // An ICMP message about one peer comes out here as an error; the socket is as good as before.
        if (turned) await turned;
        if (++errors > PATIENT_ERRORS) await pause.start(10);
      }
      if (this.#closed) return;
      if (!received) continue;
      this.#handOn(handler, received[0], received[1] as Deno.NetAddr);
      turned ??= this.#turn.next().then(() => {
        turned = undefined;
        inTurn = 0;
        if (!this.#closed) handler.batchEnd();
      });
      if (++inTurn >= MAX_PER_TURN) await turned;
    }
  }

  #handOn(handler: DatagramHandler, data: Uint8Array, from: Deno.NetAddr): void {
    this.counters.datagramsIn++;
    this.counters.bytesIn += data.length;
    if (data.length > 0) handler.datagrams(data, data.length, addressOfPeer(from));
  }

  send(to: Address, data: Uint8Array, segmentSize: number): number {
    checkTrain(data, segmentSize);
    if (data.length === 0 || this.#closed) return data.length;
    const mapped = this.local.family === 6 && to.family === 4 && !this.#v4;
    if (this.local.family === 4 && to.family === 6) {
      this.counters.sendErrors += datagramsIn(data.length, segmentSize);
      return data.length;
    }
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
    while (this.#pending.length > 0 && !this.#closed) {
      const batch = this.#pending;
      this.#pending = [];
      for (const [i, { socket, datagram, address }] of batch.entries()) {
        // Deno may send them all without going back to the event loop, and nobody would receive meanwhile.
        if (i % MAX_PER_TURN === MAX_PER_TURN - 1) await this.#turn.next();
        if (this.#closed) return;
        const sent = await socket.send(datagram, address).catch(() => 0);
        if (sent === datagram.length) {
          this.counters.datagramsOut++;
          this.counters.bytesOut += sent;
        } else this.counters.sendErrors++;
      }
      this.#wake();
    }
    this.#sending = false;
  }

  #wake(): void {
    this.#drained?.resolve();
    this.#drained = undefined;
  }

  writable(): Promise<void> {
    if (this.#closed || this.#pending.length < MAX_PENDING) return Promise.resolve();
    this.#drained ??= Promise.withResolvers();
    return this.#drained.promise;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#turn.close();
    for (const pause of this.#pauses) pause.cancel();
    this.#wake();
    this.#main.close();
    this.#v4?.close();
  }
}
