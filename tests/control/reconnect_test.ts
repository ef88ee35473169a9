import assert from "node:assert/strict";
import fc from "fast-check";
import { orderAddresses } from "../../src/control/address_order.ts";
import {
  ATTEMPT_DELAY_MS,
  ATTEMPT_TIMEOUT_MS,
  FIRST_BACKOFF_MS,
  MAX_BACKOFF_MS,
  Reconnect,
  type ReconnectInput,
  type ReconnectOutput,
  type ReconnectStateName,
  RESOLVE_AGAIN_TIMEOUT_MS,
  RESOLVE_TIMEOUT_MS,
  STABLE_MS,
  WAKE_HOLDOFF_MS,
} from "../../src/control/reconnect.ts";
import { type Address, addressOf } from "../../src/core/mod.ts";
import { drain } from "./samples.ts";

const V4 = addressOf("198.51.100.1", 4433);
const V4B = addressOf("198.51.100.2", 4433);
const V6 = addressOf("2001:db8::1", 4433);
const V6B = addressOf("2001:db8::2", 4433);
const STATES: ReconnectStateName[] = ["stopped", "resolving", "racing", "connected", "waiting"];

/** A machine with time of its own; `random` is what it draws. */
function open(random = 0.5) {
  const machine = new Reconnect(() => random);
  let now = 0;
  const tell = (input: ReconnectInput, after = 0): ReconnectOutput[] => {
    now += after;
    machine.handle(input, now);
    return drain(machine);
  };
  return {
    machine,
    tell,
    now: () => now,
    /** Waits for the deadline. */
    due: () => tell({ type: "tick" }, Math.max(0, machine.deadline()! - now)),
    addresses: (...addresses: Address[]) => tell({ type: "addresses", addresses }),
    fail: (attempt: number) => tell({ type: "failed", attempt, reason: "no" }),
  };
}

function inState(state: ReconnectStateName) {
  const it = open();
  if (state !== "stopped") it.tell({ type: "start" });
  if (!["stopped", "resolving"].includes(state)) it.addresses(V6, V4);
  if (state === "connected") it.tell({ type: "connected", attempt: 1 });
  if (state === "waiting") {
    it.fail(1);
    it.fail(2);
  }
  assert.equal(it.machine.state, state);
  return it;
}

function summary(outputs: readonly ReconnectOutput[]): string {
  return outputs.map((output) => {
    if (output.type === "attempt") {
      return `attempt ${output.attempt} ${output.address.family}${output.early ? " early" : ""}`;
    }
    if (output.type === "abandon") return `abandon ${output.attempt}`;
    if (output.type === "waiting") return `waiting ${output.retryInMs}`;
    return output.type;
  }).join(", ");
}

Deno.test("Reconnect.handle() answers every event in every state", () => {
  const events: Record<string, [ReconnectInput, number?]> = {
    start: [{ type: "start" }],
    addresses: [{ type: "addresses", addresses: [V6, V4] }],
    "no addresses": [{ type: "addresses", addresses: [] }],
    "connected 1": [{ type: "connected", attempt: 1 }],
    "connected 9": [{ type: "connected", attempt: 9 }],
    "failed 1": [{ type: "failed", attempt: 1, reason: "no" }],
    "failed 9": [{ type: "failed", attempt: 9, reason: "no" }],
    "lost 1": [{ type: "lost", attempt: 1, reason: "no" }],
    "lost 9": [{ type: "lost", attempt: 9, reason: "no" }],
    wake: [{ type: "wake" }],
    "wake, later": [{ type: "wake" }, WAKE_HOLDOFF_MS],
    "wake, elsewhere": [{ type: "wake", anew: true }],
    stop: [{ type: "stop" }],
    tick: [{ type: "tick" }],
    "tick, next attempt due": [{ type: "tick" }, ATTEMPT_DELAY_MS],
    "tick, resolving for too long": [{ type: "tick" }, RESOLVE_TIMEOUT_MS],
  };
  /** event: [stopped, resolving, racing, connected, waiting] */
  const race = "racing: attempt 1 6 early";
  // In state "waiting" half of the first ceiling is to wait.
  const table: Record<string, [string, string, string, string, string]> = {
    start: ["resolving: resolve", "=", "=", "=", "="],
    addresses: ["=", race, "=", "=", "="],
    "no addresses": ["=", "waiting: waiting 125", "=", "=", "="],
    "connected 1": [
      "stopped: abandon 1",
      "resolving: abandon 1",
      "connected:",
      "=",
      "waiting: abandon 1",
    ],
    "connected 9": [
      "stopped: abandon 9",
      "resolving: abandon 9",
      "racing: abandon 9",
      "connected: abandon 9",
      "waiting: abandon 9",
    ],
    // Done, and then of no use: as lost.
    "failed 1": ["=", "=", "racing: attempt 2 4", "waiting: waiting 125", "="],
    "failed 9": ["=", "=", "=", "=", "="],
    "lost 1": ["=", "=", "=", "waiting: waiting 125", "="],
    "lost 9": ["=", "=", "=", "=", "="],
    wake: ["=", "=", "=", "=", "resolving: resolve"],
    "wake, later": ["=", "=", "resolving: abandon 1, resolve", "=", "resolving: resolve"],
    "wake, elsewhere": ["=", "=", "resolving: abandon 1, resolve", "=", "resolving: resolve"],
    stop: ["=", "stopped:", "stopped: abandon 1", "stopped:", "stopped:"],
    tick: ["=", "=", "=", "=", "="],
    "tick, next attempt due": ["=", "=", "racing: attempt 2 4", "=", "resolving: resolve"],
    "tick, resolving for too long": [
      "=",
      "waiting: waiting 125",
      "racing: abandon 1, attempt 2 4",
      "=",
      "resolving: resolve",
    ],
  };
  assert.deepEqual(Object.keys(table), Object.keys(events));
  for (const [event, row] of Object.entries(table)) {
    for (const [i, state] of STATES.entries()) {
      const { tell, machine } = inState(state);
      const said = summary(tell(...events[event]!));
      const wanted = row[i] === "=" ? `${state}:` : row[i];
      assert.equal(`${machine.state}: ${said}`.trimEnd(), wanted, `${state}, ${event}`);
    }
  }
});

Deno.test("Reconnect.handle() races the families 250 ms apart, the first alone with early data", () => {
  const it = open();
  it.tell({ type: "start" });
  const attempts = [
    it.addresses(V4, V4B, V6, V6B),
    it.due(),
    it.due(),
    it.due(),
  ].map(summary);
  assert.deepEqual(attempts, [
    "attempt 1 6 early",
    "attempt 2 4",
    "attempt 3 6",
    "attempt 4 4",
  ]);
  assert.equal(it.now(), 3 * ATTEMPT_DELAY_MS);
  assert.equal(
    summary(it.tell({ type: "connected", attempt: 2 })),
    "abandon 1, abandon 3, abandon 4",
  );
});

Deno.test("Reconnect.handle() goes on at once when an attempt fails", () => {
  const it = open();
  it.tell({ type: "start" });
  it.addresses(V6, V4);
  assert.equal(summary(it.fail(1)), "attempt 2 4");
  assert.equal(it.now(), 0);
});

Deno.test("Reconnect.handle() waits within the ceiling, which doubles up to 30 s", () => {
  const it = open(0.999999);
  it.tell({ type: "start" });
  const waits: number[] = [];
  for (let round = 1; round <= 12; round++) {
    it.addresses(V4);
    const [waiting] = it.fail(round);
    assert.ok(waiting?.type === "waiting");
    assert.equal(waiting.failures, round);
    waits.push(Math.round(waiting.retryInMs));
    assert.equal(summary(it.due()), "resolve");
  }
  assert.deepEqual(waits.slice(0, 8), [250, 500, 1000, 2000, 4000, 8000, 16000, MAX_BACKOFF_MS]);
  assert.ok(waits.slice(8).every((wait) => wait === MAX_BACKOFF_MS));
});

Deno.test("Reconnect.handle() starts anew after a connection that held, not after one that flapped", () => {
  const it = open(1);
  it.tell({ type: "start" });
  const hold = (attempt: number, ms: number) => {
    it.addresses(V4);
    it.tell({ type: "connected", attempt });
    const [waiting] = it.tell({ type: "lost", attempt, reason: "gone" }, ms);
    assert.ok(waiting?.type === "waiting" && waiting.reason === "gone");
    it.due();
    return waiting.retryInMs;
  };
  assert.deepEqual([1, 2, 3].map((attempt) => hold(attempt, STABLE_MS - 1)), [250, 500, 1000]);
  assert.equal(hold(4, STABLE_MS), FIRST_BACKOFF_MS);
});

Deno.test("Reconnect.handle() is as patient as the relay asks", () => {
  const it = inState("connected");
  const [waiting] = it.tell({ type: "lost", attempt: 1, reason: "no", minDelayMs: 5_000 });
  assert.ok(waiting?.type === "waiting");
  assert.equal(waiting.retryInMs, 5_125);
});

Deno.test("Reconnect.handle() gives up attempts that take too long, later rounds more slowly", () => {
  const it = open(0);
  it.tell({ type: "start" });
  const timeouts: number[] = [];
  for (let round = 0; round < 6; round++) {
    it.addresses(V4);
    const start = it.now();
    const [abandon, waiting] = it.due();
    assert.ok(abandon?.type === "abandon");
    assert.ok(waiting?.type === "waiting" && waiting.reason === `${V4.key} has not answered`);
    timeouts.push(it.now() - start);
    it.due();
  }
  assert.deepEqual(timeouts, [
    ATTEMPT_TIMEOUT_MS.first,
    4_500,
    6_750,
    ATTEMPT_TIMEOUT_MS.most,
    10_000,
    10_000,
  ]);
});

Deno.test("Reconnect.handle() uses what it knows when names do not resolve, the last good first", () => {
  const it = open(0);
  it.tell({ type: "start" });
  it.addresses(V6, V4);
  it.fail(1);
  it.tell({ type: "connected", attempt: 2 });
  it.tell({ type: "lost", attempt: 2, reason: "no" }, STABLE_MS);
  it.due();
  assert.equal(summary(it.tell({ type: "tick" }, RESOLVE_AGAIN_TIMEOUT_MS)), "attempt 3 4 early");
});

/** Uniform numbers in [0, 1) from a seed (mulberry32). */
function uniform(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

Deno.test("Reconnect.handle() brings 500 clients of a restarted relay back within 10 s, spread out", () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 100, max: 15_000 }), (seed, back) => {
      const random = uniform(seed);
      // The relay is away that long, and silent as one behind a firewall is; all lose it at once.
      const arrivals: number[] = [];
      for (let client = 0; client < 500; client++) {
        const machine = new Reconnect(random);
        let now = -60_000;
        let attempt = 0;
        const step = (input: ReconnectInput) => {
          machine.handle(input, now);
          for (const output of drain(machine)) {
            if (output.type === "resolve") step({ type: "addresses", addresses: [V4] });
            else if (output.type === "attempt") attempt = output.attempt;
          }
        };
        step({ type: "start" });
        step({ type: "connected", attempt });
        now = 0;
        step({ type: "lost", attempt, reason: "gone" });
        while (machine.state !== "connected") {
          // An attempt sends again after 1, 3 and 7 s (RFC 9002 §6.2.4): one of those must meet the relay.
          const started = now;
          const state = machine.state;
          const due = machine.deadline()!;
          const meets = [0, 1_000, 3_000, 7_000].map((ms) => started + ms)
            .find((at) => at >= back && at < due);
          if (state === "racing" && meets !== undefined) {
            now = meets;
            step({ type: "connected", attempt });
          } else {
            now = due;
            step({ type: "tick" });
          }
          assert.ok(now < 60_000);
        }
        arrivals.push(now);
      }
      arrivals.sort((a, b) => a - b);
      assert.ok(arrivals.at(-1)! - back <= 10_000, `last after ${arrivals.at(-1)! - back} ms`);
      // No 100 ms hold more than a fifth of them.
      for (let i = 0; i + 100 < arrivals.length; i++) {
        assert.ok(
          arrivals[i + 100]! - arrivals[i]! > 20,
          `100 within ${arrivals[i + 100]! - arrivals[i]!} ms`,
        );
      }
    }),
    { numRuns: 10 },
  );
});

Deno.test("Reconnect.handle() keeps its promises whatever happens", () => {
  const input = fc.oneof(
    fc.constantFrom<ReconnectInput>({ type: "start" }, { type: "wake" }, { type: "tick" }, {
      type: "stop",
    }),
    fc.subarray([V4, V4B, V6, V6B]).map((addresses): ReconnectInput => ({
      type: "addresses",
      addresses,
    })),
    fc.record({ type: fc.constantFrom("connected" as const), attempt: fc.nat(8) }),
    fc.record({
      type: fc.constantFrom("failed" as const, "lost" as const),
      attempt: fc.nat(8),
      reason: fc.constant("no"),
    }),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(input, fc.nat(5_000)), { maxLength: 60 }), (steps) => {
      const { machine, tell } = open(0.7);
      const live = new Set<number>();
      for (const [input, after] of steps) {
        const connected = input.type === "connected" && live.has(input.attempt) &&
          machine.state === "racing";
        if (input.type === "failed" && machine.state === "racing") live.delete(input.attempt);
        for (const output of tell(input, after)) {
          if (output.type === "attempt") live.add(output.attempt);
          else if (output.type === "abandon") live.delete(output.attempt);
          else if (output.type === "waiting") {
            assert.ok(output.retryInMs <= MAX_BACKOFF_MS);
            live.clear();
          }
        }
        if (connected) assert.equal(machine.state, "connected");
        // Whoever is neither stopped nor connected has a deadline: nothing waits for ever.
        assert.equal(
          machine.deadline() === undefined,
          machine.state === "stopped" || machine.state === "connected",
        );
        if (machine.state === "racing") assert.ok(live.size <= 16);
      }
    }),
  );
});

Deno.test("orderAddresses() lets the families take turns, IPv6 first, the last good before all", () => {
  const keys = (...addresses: Address[]) => addresses.map(({ key }) => key);
  const order = (addresses: Address[], good?: Address) => keys(...orderAddresses(addresses, good));
  assert.deepEqual(order([V4, V4B, V6, V6B]), keys(V6, V4, V6B, V4B));
  assert.deepEqual(order([V4, V4B, V6]), keys(V6, V4, V4B));
  assert.deepEqual(order([V4, V4B, V6, V6B], V4B), keys(V4B, V6, V4, V6B));
  assert.deepEqual(order([V4, V6, V6B], V6B), keys(V6B, V4, V6));
  assert.deepEqual(order([V4, V4, V6], V4B), keys(V6, V4));
  assert.deepEqual(order([]), []);
  const many = Array.from({ length: 40 }, (_, i) => addressOf("198.51.100.1", i + 1));
  assert.equal(order(many).length, 16);
});
