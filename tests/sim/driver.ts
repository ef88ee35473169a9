/**
 * Runs a machine in virtual time: hands inputs in, carries outputs out, and comes back at its deadline.
 * @module
 */
import type { Machine } from "../../src/core/machine.ts";
import type { Scheduler } from "./scheduler.ts";

/** Turns without the clock moving after which a machine counts as running hot. */
const MAX_TURNS_AT_ONCE = 10_000;

/** Runs one machine. */
export class Driver<In, Out> {
  #machine: Machine<In, Out>;
  #scheduler: Scheduler;
  #carry: (output: Out) => void;
  #timeInput: In;
  #planned: number | undefined;
  #turns = { at: -1, count: 0 };
  #stopped = false;

  constructor(
    machine: Machine<In, Out>,
    options: { scheduler: Scheduler; time: In; carry: (output: Out) => void },
  ) {
    this.#machine = machine;
    this.#scheduler = options.scheduler;
    this.#timeInput = options.time;
    this.#carry = options.carry;
  }

  /** Gives the machine an input now. */
  readonly tell = (input: In): void => {
    if (this.#stopped) return;
    const now = this.#scheduler.now();
    this.#turns = this.#turns.at === now
      ? { at: now, count: this.#turns.count + 1 }
      : { at: now, count: 1 };
    if (this.#turns.count > MAX_TURNS_AT_ONCE) {
      throw new Error(
        `Machine runs hot at ${now}: its deadline ${this.#machine.deadline()} never passes`,
      );
    }
    this.#machine.handle(input, now);
    for (let out; (out = this.#machine.poll()) !== undefined;) this.#carry(out);
    this.#plan();
  };

  stop(): void {
    this.#stopped = true;
  }

  #plan(): void {
    const deadline = this.#machine.deadline();
    if (deadline === undefined) {
      this.#planned = undefined;
      return;
    }
    if (this.#planned !== undefined && this.#planned <= deadline) return;
    this.#planned = deadline;
    this.#scheduler.at(deadline, () => this.#wake(deadline));
  }

  #wake(planned: number): void {
    if (this.#planned !== planned) return;
    this.#planned = undefined;
    const deadline = this.#machine.deadline();
    if (deadline !== undefined && deadline <= this.#scheduler.now()) this.tell(this.#timeInput);
    else this.#plan();
  }
}
