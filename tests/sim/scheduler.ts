/**
 * Virtual time: what is to happen is kept in order; running moves the clock from one to the next.
 * @module
 */
import type { Millis } from "../../src/core/clock.ts";

interface Entry {
  readonly at: Millis;
  /** Equal times happen in the order in which they were asked for. */
  readonly order: number;
  readonly run: () => void;
}

/** A clock and its future (a binary heap). */
export class Scheduler {
  #heap: Entry[] = [];
  #order = 0;
  #now: Millis = 0;

  readonly now = (): Millis => this.#now;

  at(at: Millis, run: () => void): void {
    const entry = { at: Math.max(at, this.#now), order: this.#order++, run };
    const heap = this.#heap;
    let i = heap.length;
    heap.push(entry);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(entry, heap[parent]!)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = entry;
  }

  after(delay: Millis, run: () => void): void {
    this.at(this.#now + delay, run);
  }

  /** Runs until `until` says so or `limit` has passed. Answers whether `until` said so. */
  run(limit: Millis, until: () => boolean = () => false): boolean {
    const end = this.#now + limit;
    while (!until()) {
      const next = this.#heap[0];
      if (!next || next.at > end) {
        this.#now = end;
        return false;
      }
      this.#pop();
      this.#now = next.at;
      next.run();
    }
    return true;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last;
  }
}

function before(a: Entry, b: Entry): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
