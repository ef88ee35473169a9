/**
 * While the direct path is silent, the connector sends small packets of it by way of the relay. Should the agent move to the relayed
 * path, it acknowledges them at once from there, and QUIC knows that all before them on the direct path are lost. By itself it would
 * ask first, when it has heard of the move, and know a relayed round trip later.
 *
 * Fresh packets there are only where the congestion window has room. In a download it has none: then it is copies of the probes that
 * the engine sends on a timeout, whatever its window, and that carry the first bytes that are missing.
 *
 * The agent does not do so: the connector would take what comes from the relay for its move. And it keeps what comes that way until it
 * has moved, or knows that it need not: acknowledged on the silent path it would be as good as lost.
 * @module
 */
import type { Millis } from "../core/mod.ts";
import { MIN_PACKET, type QuicConnection, takeDetour } from "../quic/mod.ts";

/** Between packets, in milliseconds. */
const INTERVAL = 15;
/** In one silence: by then the agent has moved, or has long found the path well. */
const MAX_PACKETS = 24;

/** The way by the relay. */
export interface DetourWay {
  /** Takes a packet to the other end. */
  readonly send: (packet: Uint8Array) => void;
  /** Takes copies there of the small packets that have left on the direct path since. Answers whether there were any. */
  readonly copy: (since: Millis) => boolean;
  /** The same of the last one. */
  readonly copyLast: (since: Millis) => void;
}

/** See the module's head. */
export class Detour {
  readonly #connection: QuicConnection;
  readonly #way: DetourWay;
  #timer: ReturnType<typeof setInterval> | undefined;
  #heard = 0;
  #left = 0;
  #since: Millis = 0;
  #copied: Millis = 0;

  constructor(connection: QuicConnection, way: DetourWay) {
    this.#connection = connection;
    this.#way = way;
  }

  /** The path in use is silent, and has been for `quiet` milliseconds. */
  start(quiet: Millis): void {
    this.#heard = this.#connection.packetsIn;
    this.#left = MAX_PACKETS;
    this.#copied = this.#since = performance.now() - quiet;
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
    const copied = this.#way.copy(this.#copied);
    this.#copied = performance.now();
    const packet = takeDetour(this.#connection, MIN_PACKET);
    if (packet) this.#way.send(packet);
    // Where our relay link or the other end's is not where it was, either, what went there before is lost.
    else if (!copied) this.#way.copyLast(this.#since);
  }
}
