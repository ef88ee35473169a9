/**
 * A connection to the service that stays open and carries bytes all the time, so that one can see when it ends.
 * @module
 */
import type { Millis } from "../../core/mod.ts";
import { exchange } from "./http_exchange.ts";

/** See the module's head. */
export class LiveConnection implements Disposable {
  /** Resolves when the first bytes are here; rejects where none come. */
  readonly started: Promise<void>;
  /** Resolves with the time (`performance.now()`) when it ended, however it did. */
  readonly ended: Promise<Millis>;
  readonly #over = new AbortController();

  /** @param port the agent's local port */
  constructor(port: number) {
    const started = Promise.withResolvers<void>();
    this.started = started.promise;
    this.started.catch(() => {});
    const { signal } = this.#over;
    this.ended = exchange({ port, path: "/live", onBytes: () => started.resolve(), signal })
      .then(() => started.reject(new Error("the connection ended at once")), started.reject)
      .then(() => performance.now());
  }

  [Symbol.dispose](): void {
    this.#over.abort();
  }
}
