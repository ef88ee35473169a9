import assert from "node:assert/strict";
import { ASK_AGAIN_MAX_MS, ASK_AGAIN_MS, Pulse, QUIET_MS } from "../../src/tunnel/pulse.ts";

/** A pulse beside counters that a test moves; runs it as its driver would. */
class Bench {
  readonly pulse = new Pulse();
  readonly asks: number[] = [];
  now = 1000;
  packets = 0;
  bytes = 0;

  /** Flows move bytes, and packets come. */
  traffic(): void {
    this.packets++;
    this.bytes += 100;
    this.sent();
  }

  sent(): void {
    this.pulse.handle({ type: "sent" }, this.now);
    this.#obey();
  }

  /** Lets time pass; `answer` decides whether each question is answered. */
  run(ms: number, answer = () => false): void {
    const end = this.now + ms;
    for (;;) {
      const due = this.pulse.deadline();
      if (due === undefined || due > end) break;
      this.now = Math.max(this.now, due);
      this.pulse.handle({ type: "time" }, this.now);
      const before = this.asks.length;
      this.#obey();
      if (this.asks.length > before && answer()) this.packets++;
    }
    this.now = end;
  }

  #obey(): void {
    for (let out; (out = this.pulse.poll());) {
      if (out.type === "ask") this.asks.push(this.now);
      else {
        const { packets, bytes } = this;
        this.pulse.handle({ type: "seen", packets, bytes }, this.now);
      }
    }
  }
}

Deno.test("Pulse does ask when traffic stops, and goes on while nothing comes", () => {
  const bench = new Bench();
  bench.traffic();
  bench.run(QUIET_MS - 1);
  assert.deepEqual(bench.asks, []);
  bench.run(20_000);
  assert.equal(bench.asks[0], 1000 + QUIET_MS);
  assert.equal(bench.asks[1], 1000 + QUIET_MS + ASK_AGAIN_MS);
  const gaps = bench.asks.slice(1).map((at, i) => at - bench.asks[i]!);
  assert.ok(gaps.every((gap) => gap >= ASK_AGAIN_MS && gap <= ASK_AGAIN_MAX_MS));
  assert.equal(gaps.at(-1), ASK_AGAIN_MAX_MS);
});

Deno.test("Pulse is silent while traffic flows", () => {
  const bench = new Bench();
  for (let i = 0; i < 100; i++) {
    bench.traffic();
    bench.run(100);
  }
  assert.deepEqual(bench.asks, []);
});

Deno.test("Pulse falls asleep when a few questions were answered and nobody has anything to say", () => {
  const bench = new Bench();
  bench.traffic();
  bench.run(60_000, () => true);
  assert.ok(bench.asks.length > 0 && bench.asks.length <= 4, String(bench.asks));
  assert.equal(bench.pulse.state, "asleep");
  // Signs of life are no traffic: two ends that answer each other's must not keep each other awake.
  const asked = bench.asks.length;
  bench.packets++;
  bench.sent();
  bench.run(60_000, () => true);
  assert.equal(bench.asks.length, asked);
});

Deno.test("Pulse does ask at once when the other end is heard again after unanswered questions", () => {
  const bench = new Bench();
  bench.traffic();
  bench.run(5_000);
  const asked = bench.asks.length;
  bench.packets++;
  bench.sent();
  assert.equal(bench.asks.length, asked + 1);
  assert.equal(bench.asks.at(-1), bench.now);
});

Deno.test("Pulse takes up a new silence after an old one", () => {
  const bench = new Bench();
  bench.traffic();
  bench.run(60_000, () => true);
  const asked = bench.asks.length;
  bench.bytes += 10;
  bench.sent();
  bench.run(1_000);
  assert.ok(bench.asks.length >= asked + 2);
});
