import assert from "node:assert/strict";
import { addressOf } from "../../src/core/address.ts";
import { Asker, type AskerState, MAX_RETRY_MS, UNREACHABLE_AFTER } from "../../src/qad/asker.ts";

const target = addressOf("203.0.113.1", 4433);
const seen = addressOf("198.51.100.7", 1234);
const elsewhere = addressOf("198.51.100.7", 9999);
const main = { refreshIn: () => 20_000 };
const witness = { refreshIn: undefined };

/** An asker in each state. */
function inState(name: AskerState["name"]): Asker {
  const asker = new Asker(target, 0, name === "resting" ? witness : main);
  if (name === "asking") return asker;
  asker.asked("a", 0);
  asker.answered("a", seen, 30);
  if (name === "checking") asker.asked("b", 20_030);
  return asker;
}

const EXPECTED: Record<AskerState["name"], Record<string, AskerState["name"]>> = {
  asking: { asked: "asking", answered: "fresh", refresh: "asking", reset: "asking" },
  fresh: { asked: "checking", answered: "fresh", refresh: "checking", reset: "asking" },
  checking: { asked: "checking", answered: "fresh", refresh: "checking", reset: "asking" },
  resting: { asked: "resting", answered: "resting", refresh: "resting", reset: "asking" },
};

for (const [state, row] of Object.entries(EXPECTED)) {
  for (const [event, next] of Object.entries(row)) {
    Deno.test(`Asker does go from ${state} by ${event} to ${next}`, () => {
      const asker = inState(state as AskerState["name"]);
      assert.equal(asker.state.name, state);
      const now = 30_000;
      if (event === "asked") asker.asked("z", now);
      else if (event === "reset") asker.reset(now);
      else if (event === "refresh") asker.refresh(now);
      else {
        asker.asked("z", now);
        asker.answered("z", seen, now);
      }
      assert.equal(asker.state.name, next);
      if (event === "refresh" && next !== "resting") assert.equal(asker.at, now);
    });
  }
}

Deno.test("Asker does retry from tens of milliseconds up to its cap, for ever", () => {
  const asker = new Asker(target, 0, main);
  const waits: number[] = [];
  for (let i = 0; i < 30; i++) {
    const at = asker.at!;
    asker.asked(`t${i}`, at);
    waits.push(asker.at! - at);
  }
  assert.deepEqual(waits.slice(0, 4), [40, 80, 160, 320]);
  assert.equal(waits.at(-1), MAX_RETRY_MS);
});

Deno.test("Asker does let the newest question win, and each answer count once", () => {
  const asker = new Asker(target, 0, main);
  asker.asked("old", 0);
  asker.asked("new", 40);
  assert.equal(asker.answered("new", seen, 50), true);
  assert.equal(asker.answered("old", elsewhere, 60), false);
  assert.equal(asker.answered("new", elsewhere, 70), false);
  assert.equal(asker.answered("never asked", elsewhere, 80), false);
  assert.equal(asker.seen, seen);
});

Deno.test("Asker does forget questions from before a reset", () => {
  const asker = new Asker(target, 0, main);
  asker.asked("before", 0);
  asker.reset(10);
  assert.equal(asker.answered("before", seen, 20), false);
});

Deno.test("Asker does remember a bounded number of questions", () => {
  const asker = new Asker(target, 0, main);
  for (let i = 0; i < 100; i++) asker.asked(`t${i}`, i);
  assert.equal(asker.answered("t10", seen, 200), false);
  assert.equal(asker.answered("t95", seen, 200), true);
});

Deno.test("Asker does stop believing a fresh answer after enough silence, and a witness gives up", () => {
  const asker = inState("fresh");
  for (let i = 0; i <= UNREACHABLE_AFTER; i++) asker.asked(`s${i}`, asker.at!);
  assert.equal(asker.state.name, "asking");
  assert.equal(asker.seen, undefined);
  const silent = new Asker(target, 0, witness);
  for (let i = 0; i <= UNREACHABLE_AFTER; i++) silent.asked(`w${i}`, silent.at ?? 0);
  assert.equal(silent.state.name, "resting");
});
