/**
 * Lets the flows of a tunnel's first flight go before the search for a direct path: that takes both ends some milliseconds of
 * computing, which an application that comes back would wait for.
 * @module
 */

/** Milliseconds from a first flight's offer until it is acted on: a service that is near has answered by then. */
const HEAD_START = 5;

/** Holds back what would cost too much just now; the newest only. */
export class HeadStart<T> {
  readonly #act: (value: T) => void;
  #held: { value: T; timer: ReturnType<typeof setTimeout> } | undefined;

  constructor(act: (value: T) => void) {
    this.#act = act;
  }

  /** Acts on a value: now, or `later` with the flight that it came in. */
  take(value: T, later: boolean): void {
    if (this.#held) this.#held.value = value;
    else if (!later) this.#act(value);
    else this.#held = { value, timer: setTimeout(() => this.#release(), HEAD_START) };
  }

  /** What is held is forgotten. */
  stop(): void {
    clearTimeout(this.#held?.timer);
    this.#held = undefined;
  }

  #release(): void {
    const { value } = this.#held!;
    this.#held = undefined;
    this.#act(value);
  }
}
