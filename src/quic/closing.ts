/**
 * The end of a connection that this end wants, in three steps, as the engine is rough here: told to close, it drops all that
 * still waits (stream data, a client's last handshake flight), hears no acknowledgement any more, and so, where the
 * congestion window is full, can never send the close itself.
 *
 * ```
 * last words --nothing left, or enough--> making room --a packet could leave--> said
 * ```
 * @module
 */
import { encodeUtf8 } from "../core/mod.ts";
import type { NativeConnection } from "./engine.ts";

/** Packets that still go before the close at most: more than a control message of 64 KiB takes, and a moment only. */
const LAST_WORDS = 64;

/** `Shutdown.Write` of the engine. */
const WRITE = 1;

/** See the module's head. */
export class Closing {
  readonly #native: NativeConnection;
  readonly #code: number;
  readonly #text: string;
  #lastWords = LAST_WORDS;
  #dropped = false;
  #asking = false;
  #said = false;

  constructor(native: NativeConnection, reason: { code: number; text: string }) {
    this.#native = native;
    this.#code = reason.code;
    this.#text = reason.text;
  }

  /** The engine had nothing to send. Answers whether to ask it again. */
  silent(streams: Iterable<number>): boolean {
    if (this.#said) return false;
    if (!this.#native.isEstablished()) return this.#say();
    if (this.#asking) {
      // Not even this: the window is full. What is acknowledged makes room, and nothing new shall take it.
      this.#asking = false;
      this.#drop(streams);
      return false;
    }
    this.#asking = true;
    this.#native.sendAckEliciting();
    return true;
  }

  /** The engine sent a packet. */
  sent(streams: Iterable<number>): void {
    if (this.#said) return;
    if (this.#asking) this.#say();
    else if (this.#lastWords-- === 0) this.#drop(streams);
  }

  #drop(streams: Iterable<number>): void {
    if (this.#dropped) return;
    this.#dropped = true;
    for (const id of streams) {
      try {
        // It loses flow-control credit in this engine, which no longer matters.
        this.#native.streamShutdown(id, WRITE, 0);
      } catch {
        // It had nothing to send.
      }
    }
  }

  #say(): boolean {
    this.#said = true;
    try {
      this.#native.close(true, this.#code, encodeUtf8(this.#text));
    } catch {
      // Already closing: the other end was first.
    }
    return true;
  }
}
