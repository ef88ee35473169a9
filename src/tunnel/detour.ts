/**
 * While the direct path is silent, the connector sends a small packet of it by way of the relay now and then. Should the agent move
 * to the relayed path, it acknowledges the next of them at once from there, and QUIC knows that all before it on the direct path
 * are lost. By itself it would ask first, when it has heard of the move, and know a relayed round trip later.
 *
 * The agent does not do so: the connector would take what comes from the relay for its move.
 * @module
 */
import { MIN_PACKET, type QuicConnection, takeDetour } from "../quic/mod.ts";

/** Between packets, in milliseconds: so long after its move the agent waits for one, at most. */
const INTERVAL = 15;
/** In one silence: by then the agent has moved, or has long found the path well. */
const MAX_PACKETS = 24;

/** See the module's head. */
export class Detour {
  readonly #connection: QuicConnection;
  readonly #send: (packet: Uint8Array) => void;
  #timer: ReturnType<typeof setInterval> | undefined;
  #heard = 0;
  #left = 0;

  /** @param send takes a packet to the other end by way of the relay */
  constructor(connection: QuicConnection, send: (packet: Uint8Array) => void) {
    this.#connection = connection;
    this.#send = send;
  }

  /** The path in use is silent. */
  start(): void {
    this.#heard = this.#connection.packetsIn;
    this.#left = MAX_PACKETS;
    this.#timer ??= setInterval(() => this.#next(), INTERVAL);
    this.#next();
  }

  /** It is heard again, or left. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #next(): void {
    if (this.#left-- <= 0 || this.#connection.packetsIn !== this.#heard) return this.stop();
    const packet = takeDetour(this.#connection, MIN_PACKET);
    if (packet) this.#send(packet);
  }
}
