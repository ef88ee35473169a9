/**
 * Round trips through a tunnel, on whatever path it is.
 * @module
 */

/** Pings that may be under way; the next one is refused. */
const MAX_PINGS = 64;

/** The pings of one tunnel. */
export class TunnelPings {
  readonly #send: (id: number) => void;
  readonly #waiting = new Map<number, (answered: boolean) => void>();
  #next = 1;

  /** `send` asks the other end for a pong with that id. */
  constructor(send: (id: number) => void) {
    this.#send = send;
  }

  /** The round trip in milliseconds; `undefined` when no answer came. */
  async ping(timeoutMs: number): Promise<number | undefined> {
    if (this.#waiting.size >= MAX_PINGS) return undefined;
    const id = this.#next++;
    const start = performance.now();
    const answer = Promise.withResolvers<number | undefined>();
    const timer = setTimeout(() => answer.resolve(undefined), timeoutMs);
    this.#waiting.set(id, (answered) => {
      answer.resolve(answered ? performance.now() - start : undefined);
    });
    this.#send(id);
    try {
      return await answer.promise;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(id);
    }
  }

  /** The other end has answered. */
  pong(id: number): void {
    this.#waiting.get(id)?.(true);
  }

  /** No answer will come any more. */
  end(): void {
    for (const answer of this.#waiting.values()) answer(false);
    this.#waiting.clear();
  }
}
