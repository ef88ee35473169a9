/**
 * Receives from one socket of Deno's, datagram by datagram, and tells batches apart.
 * @module
 */
import { clearImmediate, setImmediate } from "node:timers";
import { addressOfPeer } from "./sockaddr.ts";
import { LoopTurn, Sleep } from "./turn.ts";
import type { DatagramHandler, UdpCounters } from "./udp_socket.ts";

/** Datagrams handed on before going back to the event loop: the rule that the batched socket states. */
const MAX_PER_TURN = 64;

/** After this many errors in a row from receiving, wait a little before the next try. */
const PATIENT_ERRORS = 16;

/** How long that is, in milliseconds. */
const PAUSE = 10;

/** The receiving half of a portable socket. */
export class PortableReceiver {
  readonly #socket: Deno.DatagramConn;
  readonly #counters: UdpCounters;
  readonly #handler: DatagramHandler;
  readonly #turn = new LoopTurn();
  readonly #pause = new Sleep();
  #batch = 0;
  #batchEnd: ReturnType<typeof setImmediate> | undefined;
  #closed = false;

  constructor(socket: Deno.DatagramConn, counters: UdpCounters, handler: DatagramHandler) {
    this.#socket = socket;
    this.#counters = counters;
    this.#handler = handler;
  }

  /** Receives until the socket is closed. */
  async run(): Promise<void> {
    const buffer = new Uint8Array(65_536);
    let errors = 0;
    while (!this.#closed) {
      let received: [Uint8Array, Deno.Addr] | undefined;
      try {
        received = await this.#socket.receive(buffer);
        errors = 0;
      } catch (error) {
        if (this.#closed || error instanceof Deno.errors.BadResource) return;
        // An ICMP message about one peer comes out here as an error; the socket is as good as before.
        if (++errors > PATIENT_ERRORS) await this.#pause.start(PAUSE);
      }
      if (this.#closed) return;
      if (!received) continue;
      this.#handOn(received[0], received[1] as Deno.NetAddr);
      if (++this.#batch >= MAX_PER_TURN) {
        this.#endBatch();
        await this.#turn.next();
      } else {
        // Deno does not say whether more is waiting. What is, arrives before the event loop has come round.
        this.#batchEnd ??= setImmediate(() => this.#endBatch());
      }
    }
  }

  #handOn(data: Uint8Array, from: Deno.NetAddr): void {
    this.#counters.datagramsIn++;
    this.#counters.bytesIn += data.length;
    if (data.length > 0) this.#handler.datagrams(data, data.length, addressOfPeer(from));
  }

  #endBatch(): void {
    if (this.#batchEnd) clearImmediate(this.#batchEnd);
    this.#batchEnd = undefined;
    this.#batch = 0;
    if (!this.#closed) this.#handler.batchEnd();
  }

  /** Nothing is handed on any more. The socket itself is its owner's to close. */
  close(): void {
    this.#closed = true;
    if (this.#batchEnd) clearImmediate(this.#batchEnd);
    this.#pause.cancel();
    this.#turn.close();
  }
}
