/**
 * Finds out whether the relay still knows us, when something says that it does not.
 * @module
 */
import { type Address, toHex } from "../core/mod.ts";
import type { QuicConnection } from "../quic/mod.ts";

/** Least wait for an answer, in milliseconds: a relay that has just started has much to do. */
const MIN_WAIT = 150;

/** Between two doubts, in milliseconds. */
const INTERVAL = 1_000;

/** What to do. */
export interface RelayDoubtOptions {
  /** Asks the relay something that it answers on the control stream. */
  readonly ask: () => void;
  /** The relay is silent; its connection is about to be ended, so that the client comes anew. */
  readonly silent: () => void;
}

/** See the module's head. */
export class RelayDoubt {
  readonly #options: RelayDoubtOptions;
  #heard = 0;
  #lastAt = -Infinity;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** The connection that the timer is about to end; `undefined` while there is no doubt. */
  #doubted: QuicConnection | undefined;

  constructor(options: RelayDoubtOptions) {
    this.#options = options;
  }

  /** The relay said something on the control stream: it knows us. */
  heard(): void {
    this.#heard++;
  }

  /**
   * Somebody at `from` says that the connection with the id `echo` is not known there. Where it is ours, asks; and where
   * nothing is heard for a few round trips, ends it. A doubt runs its time whatever is said meanwhile: on a path whose round
   * trip is long, or was when it was measured in a crowd, one said every second would put the end off again and again.
   */
  raise(connection: QuicConnection, said: { echo: string; from: Address }): void {
    const now = performance.now();
    if (said.from.key !== connection.peer.key || now - this.#lastAt < INTERVAL) return;
    if (this.#doubted === connection) return;
    if (!toHex(connection.native.destinationId()).startsWith(said.echo)) return;
    this.#lastAt = now;
    const before = this.#heard;
    this.#options.ask();
    clearTimeout(this.#timer);
    this.#doubted = connection;
    this.#timer = setTimeout(() => {
      this.#doubted = undefined;
      if (this.#heard !== before) return;
      // One that the session has given up meanwhile still waits for an answer to its close, which nobody there can give.
      if (!connection.closed) this.#options.silent();
      connection.abandon();
    }, Math.max(MIN_WAIT, 4 * (connection.rttMs() ?? 0)));
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#doubted = undefined;
  }
}
