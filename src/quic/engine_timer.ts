/**
 * The engine's clock: calls it when it asked to be called. Its time is its own and cannot be simulated.
 * @module
 */
import type { NativeConnection } from "./engine.ts";

/** The timer of one connection. */
export class EngineTimer {
  readonly #native: NativeConnection;
  readonly #expired: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #at = Infinity;

  /** `expired` is called after the engine was. */
  constructor(native: NativeConnection, expired: () => void) {
    this.#native = native;
    this.#expired = expired;
  }

  /** The engine may want to be called sooner than it said before. */
  arm(): void {
    const timeout = this.#native.timeout();
    if (timeout === null) return;
    const at = performance.now() + timeout;
    // A timer that fires too early costs one look; making a new one for every packet would cost more.
    if (this.#timer !== undefined && this.#at <= at) return;
    clearTimeout(this.#timer);
    this.#at = at;
    this.#timer = setTimeout(() => this.#expire(), Math.ceil(timeout));
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #expire(): void {
    this.#timer = undefined;
    this.#at = Infinity;
    const timeout = this.#native.timeout();
    if (timeout !== null && timeout <= 0) this.#native.onTimeout();
    this.#expired();
  }
}
