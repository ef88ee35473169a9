import assert from "node:assert/strict";
import { addressOf } from "../../src/core/address.ts";
import { MAPPING_BEHAVIOURS, type MappingBehaviour } from "../../src/qad/mod.ts";
import {
  guessPlan,
  guessSide,
  HUNT_PORTS,
  huntOrder,
  PortGuess,
  SPREAD_SOCKETS,
} from "../../src/path/port_guess.ts";
import { SeededRandom } from "../sim/random.ts";

const random = new SeededRandom(9).bytes;
const target = addressOf("198.51.100.1", 30_000);

Deno.test("guessSide() does give the hunt to the independent side and the spread to the other", () => {
  for (const own of [undefined, ...MAPPING_BEHAVIOURS]) {
    for (const peer of [undefined, ...MAPPING_BEHAVIOURS]) {
      const dependent = (mapping: MappingBehaviour) => mapping !== "endpoint-independent";
      const wanted = !own || !peer
        ? undefined
        : dependent(own) && dependent(peer)
        ? "both-dependent"
        : dependent(own)
        ? "spread"
        : dependent(peer)
        ? "hunt"
        : undefined;
      assert.equal(guessSide(own, peer), wanted);
    }
  }
});

Deno.test("guessPlan() does want an observed address to aim at", () => {
  const local = { families: [4, 6] as const, mapping: { v4: "endpoint-independent" as const } };
  const offer = {
    generation: 1,
    mapping: { v4: "address-and-port-dependent" as const },
    candidates: [{ kind: "host" as const, address: target }],
  };
  assert.equal(guessPlan(local, offer), undefined);
  const seen = { ...offer, candidates: [{ kind: "observed" as const, address: target }] };
  assert.deepEqual(guessPlan(local, seen), { family: 4, side: "hunt", targets: [target] });
  assert.equal(guessPlan({ ...local, families: [6] }, seen), undefined);
  assert.equal(guessPlan(local, undefined), undefined);
});

Deno.test("huntOrder() does try each port once, near ones first, within its bound", () => {
  const order = huntOrder([30_000, 65_530, 1025], { random });
  assert.equal(order.length, HUNT_PORTS);
  assert.equal(new Set(order).size, HUNT_PORTS);
  assert.ok(order.every((port) => port >= 1024 && port <= 65_535));
  assert.ok(order.slice(0, 20).includes(30_001));
  assert.ok(order.indexOf(30_005) < 100);
});

function runOut(guess: PortGuess, from: number): { packets: number; took: number } {
  let packets = 0;
  let now = from;
  for (let turns = 0; guess.running && turns < 10_000; turns++) {
    now = guess.at!;
    packets += guess.due(now).length;
  }
  assert.equal(guess.running, false);
  return { packets, took: now - from };
}

Deno.test("PortGuess does hunt with a bounded number of packets in under two seconds", () => {
  const guess = new PortGuess();
  guess.start("hunt", { targets: [target], random, now: 100 });
  const { packets, took } = runOut(guess, 100);
  assert.equal(packets, HUNT_PORTS);
  assert.ok(took < 2000, `took ${took} ms`);
});

Deno.test("PortGuess does spread from the sockets it is given, at most its own number of them", () => {
  const guess = new PortGuess();
  assert.equal(guess.opened([1], 0), false);
  guess.start("spread", { targets: [target], random, now: 0 });
  const sockets = Array.from({ length: SPREAD_SOCKETS + 50 }, (_, i) => i + 1);
  assert.equal(guess.opened(sockets, 10), true);
  const { packets, took } = runOut(guess, 10);
  assert.equal(packets, 3 * SPREAD_SOCKETS);
  assert.ok(took < 2000, `took ${took} ms`);
});

Deno.test("PortGuess does end when no sockets come, come empty, or it is stopped", () => {
  const guess = new PortGuess();
  guess.start("spread", { targets: [target], random, now: 0 });
  assert.equal(runOut(guess, 0).packets, 0);
  guess.start("spread", { targets: [target], random, now: 0 });
  guess.opened([], 5);
  assert.equal(runOut(guess, 5).packets, 0);
  guess.start("hunt", { targets: [target], random, now: 0 });
  guess.stop();
  assert.equal(guess.at, undefined);
  assert.deepEqual(guess.due(1000), []);
});
