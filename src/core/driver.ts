/**
 * The one driver that runs every state machine of the house: gives it the time, does what it says, wakes it when it is due.
 * @module
 */
import type { Clock } from "./clock.ts";
import type { Machine } from "./machine.ts";

/** Longest that a timer may run, in milliseconds: a 32-bit timer would otherwise fire at once. */
const MAX_TIMER = 2 ** 31 - 1;

/** How to run a machine. */
export interface DriverOptions<In, Out> {
  readonly clock: Clock;
  /** Does what the machine says. May tell it more; that is taken in order. */
  readonly output: (output: Out) => void;
  /** What the machine is told when its deadline has come. */
  readonly tick: In;
}

/** Runs one machine. */
export class Driver<In, Out> {
  readonly machine: Machine<In, Out>;
  readonly #options: DriverOptions<In, Out>;
  readonly #inputs: In[] = [];
  #running = false;
  #stopped = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(machine: Machine<In, Out>, options: DriverOptions<In, Out>) {
    this.machine = machine;
    this.#options = options;
  }

  /** Tells the machine something and does what it answers. From within an output it waits its turn. */
  tell(input: In): void {
    if (this.#stopped) return;
    this.#inputs.push(input);
    if (this.#running) return;
    this.#running = true;
    try {
      for (let next = this.#inputs.shift(); next !== undefined; next = this.#inputs.shift()) {
        this.machine.handle(next, this.#options.clock.now());
        for (let out = this.machine.poll(); out !== undefined; out = this.machine.poll()) {
          this.#options.output(out);
        }
      }
    } finally {
      this.#running = false;
      this.#arm();
    }
  }

  /** No more timers and outputs. */
  stop(): void {
    this.#stopped = true;
    this.#inputs.length = 0;
    clearTimeout(this.#timer);
  }

  #arm(): void {
    clearTimeout(this.#timer);
    if (this.#stopped) return;
    const deadline = this.machine.deadline();
    if (deadline === undefined) return;
    const wait = Math.max(0, Math.min(MAX_TIMER, Math.ceil(deadline - this.#options.clock.now())));
    this.#timer = setTimeout(() => this.tell(this.#options.tick), wait);
  }
}
