import assert from "node:assert/strict";
import fc from "fast-check";
import { type EarlyStamp, ReplayGuard, type ReplayVerdict } from "../../src/zero_rtt/mod.ts";

const START = 1_700_000_000_000;

function nonce(number: number): Uint8Array {
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setUint32(12, number);
  return bytes;
}

function stamp(identity: string, number: number, issuedAt: number | null): EarlyStamp {
  return { identity, nonce: nonce(number), issuedAt };
}

Deno.test("ReplayGuard.check() accepts a fresh nonce once", () => {
  const guard = new ReplayGuard({ refuseUpTo: START });
  const hello = stamp("agent:alice", 1, START + 50);
  assert.equal(guard.check(hello, START + 100), "accept");
  for (let i = 0; i < 1000; i++) {
    assert.notEqual(guard.check(hello, START + 100 + i * 20), "accept");
  }
  assert.equal(guard.counts.accept, 1);
  assert.equal(guard.counts.seen + guard.counts.stale, 1000);
});

Deno.test("ReplayGuard.check() tells nonces of different identities apart", () => {
  const guard = new ReplayGuard({ refuseUpTo: START });
  assert.equal(guard.check(stamp("agent:alice", 1, START + 1), START + 1), "accept");
  assert.equal(guard.check(stamp("agent:bob", 1, START + 1), START + 1), "accept");
  assert.equal(guard.check(stamp("connector:alice", 1, START + 1), START + 1), "accept");
  assert.equal(guard.check(stamp("agent:alice", 1, START + 1), START + 1), "seen");
});

Deno.test("ReplayGuard.check() refuses what is stale at the edges of its window", () => {
  const now = START + 60_000;
  const cases: [issuedAt: number | null, verdict: ReplayVerdict][] = [
    [now - 10_000, "accept"],
    [now - 10_001, "stale"],
    [now + 1_000, "accept"],
    [now + 1_001, "stale"],
    [NaN, "stale"],
    [Infinity, "stale"],
    [-Infinity, "before-start"],
    [null, "stale"],
    [0, "before-start"],
    [START + 500, "before-start"],
    [START + 501, "stale"],
  ];
  for (const [issuedAt, verdict] of cases) {
    const guard = new ReplayGuard({ refuseUpTo: START + 500 });
    assert.equal(guard.check(stamp("agent:a", 1, issuedAt), now), verdict, `issued at ${issuedAt}`);
    assert.equal(
      guard.entries,
      verdict === "accept" ? 1 : 0,
      "only what is accepted is remembered",
    );
  }
});

Deno.test("ReplayGuard.check() takes a flight from the future only once, to the end of its freshness", () => {
  const guard = new ReplayGuard({ refuseUpTo: START });
  const hello = stamp("agent:a", 1, START + 2_000);
  assert.equal(guard.check(hello, START + 1_000), "accept");
  assert.equal(guard.check(hello, START + 12_000), "seen");
  assert.equal(guard.check(hello, START + 12_001), "stale");
  assert.equal(guard.entries, 0);
});

Deno.test("ReplayGuard.check() never goes back in time", () => {
  const guard = new ReplayGuard({ refuseUpTo: START });
  const hello = stamp("agent:a", 1, START + 1_000);
  assert.equal(guard.check(hello, START + 1_000), "accept");
  assert.equal(guard.check(stamp("agent:b", 2, START + 60_000), START + 60_000), "accept");
  assert.equal(guard.check(hello, START + 1_000), "stale");
});

Deno.test("ReplayGuard.check() holds its memory against a million distinct hellos", () => {
  const guard = new ReplayGuard({ refuseUpTo: START });
  let accepted = 0;
  let peak = 0;
  for (let i = 0; i < 1_000_000; i++) {
    const now = START + 1 + Math.floor(i / 100); // 10 s in all
    if (guard.check(stamp("agent:mallory", i, now), now) === "accept") accepted++;
    if (i % 100_000 === 0) {
      const honest = stamp("agent:alice", i, now);
      assert.equal(guard.check(honest, now), "accept", "the honest client is served");
      assert.equal(guard.check(honest, now), "seen", "and not forgotten");
    }
    peak = Math.max(peak, guard.entries);
  }
  assert.equal(accepted, 64);
  assert.ok(peak <= 64 + 10, `${peak} entries`);
  assert.equal(guard.identities, 2);
});

Deno.test("ReplayGuard.check() serves each honest client's first when a thousand identities flood together", () => {
  const guard = new ReplayGuard({ refuseUpTo: START, maxEntries: 5_000, maxIdentities: 3_000 });
  const now = START + 5_000;
  for (let i = 0; i < 100_000; i++) guard.check(stamp(`agent:m${i % 1_000}`, i, now), now);
  assert.equal(guard.entries, 6_000);
  for (let i = 0; i < 2_000; i++) {
    assert.equal(guard.check(stamp(`agent:h${i}`, i, now), now), "accept");
  }
  assert.equal(guard.check(stamp("agent:h0", 99, now), now), "full", "a second has no reserve");
  assert.equal(guard.check(stamp("agent:more", 1, now), now), "full", "identities are bounded");
  assert.equal(guard.entries, 8_000);
  assert.equal(guard.check(stamp("agent:h0", 0, now), now), "seen", "nothing was forgotten");
  const later = now + 11_001;
  assert.equal(guard.check(stamp("agent:h0", 99, later), later), "accept");
  assert.equal(guard.entries, 1);
  assert.equal(guard.identities, 1);
});

/** The slow exact reference: remembers everything, for ever, and counts what is still remembered by looking at all. */
class Reference {
  readonly #accepted: { identity: string; nonce: number; at: number }[] = [];
  #now = 0;
  constructor(readonly bounds: typeof BOUNDS) {}

  check(identity: string, nonce: number, issuedAt: number, now: number): ReplayVerdict {
    this.#now = Math.max(this.#now, now);
    const { refuseUpTo, maxPastMs, maxFutureMs, maxPerIdentity, maxIdentities, maxEntries } =
      this.bounds;
    if (issuedAt <= refuseUpTo) return "before-start";
    if (issuedAt < this.#now - maxPastMs || issuedAt > this.#now + maxFutureMs) return "stale";
    const live = this.#accepted.filter((entry) => this.#now <= entry.at + maxPastMs + maxFutureMs);
    const mine = live.filter((entry) => entry.identity === identity);
    if (mine.some((entry) => entry.nonce === nonce)) return "seen";
    const identities = new Set(live.map((entry) => entry.identity)).size;
    if (mine.length === 0 && identities >= maxIdentities) return "full";
    if (
      mine.length > 0 && (mine.length >= maxPerIdentity || live.length - identities >= maxEntries)
    ) {
      return "full";
    }
    this.#accepted.push({ identity, nonce, at: this.#now });
    return "accept";
  }
}

const BOUNDS = {
  refuseUpTo: 1_050,
  maxPastMs: 100,
  maxFutureMs: 20,
  maxPerIdentity: 4,
  maxIdentities: 3,
  maxEntries: 5,
};

const steps = fc.array(
  fc.record({
    identity: fc.constantFrom("a", "b", "c", "d"),
    nonce: fc.nat(7),
    age: fc.integer({ min: -30, max: 120 }),
    elapsed: fc.oneof({ weight: 4, arbitrary: fc.nat(6) }, { weight: 1, arbitrary: fc.nat(150) }),
  }),
  { maxLength: 120 },
);

Deno.test("ReplayGuard.check() says what the slow exact reference says", () => {
  fc.assert(
    fc.property(steps, (sequence) => {
      const guard = new ReplayGuard(BOUNDS);
      const reference = new Reference(BOUNDS);
      let now = 1_000;
      for (const { identity, nonce: number, age, elapsed } of sequence) {
        now += elapsed;
        const expected = reference.check(identity, number, now - age, now);
        assert.equal(guard.check(stamp(identity, number, now - age), now), expected);
        assert.ok(guard.entries <= BOUNDS.maxEntries + BOUNDS.maxIdentities);
        assert.ok(guard.identities <= BOUNDS.maxIdentities);
      }
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("ReplayGuard.check() accepts no flight twice, whatever comes between", () => {
  const flight = fc.record({
    identity: fc.constantFrom("a", "b", "c", "d"),
    nonce: fc.nat(5),
    issuedAt: fc.integer({ min: 1_000, max: 2_000 }),
  });
  const schedule = fc.tuple(
    fc.array(flight, { minLength: 1, maxLength: 20 }),
    fc.array(fc.tuple(fc.nat(), fc.nat(40)), { maxLength: 200 }),
  );
  fc.assert(
    fc.property(schedule, ([flights, arrivals]) => {
      const guard = new ReplayGuard(BOUNDS);
      const accepted = new Set<number>();
      let now = 1_000;
      for (const [pick, elapsed] of arrivals) {
        now += elapsed;
        const index = pick % flights.length;
        const { identity, nonce: number, issuedAt } = flights[index]!;
        if (guard.check(stamp(identity, number, issuedAt), now) !== "accept") continue;
        assert.ok(!accepted.has(index), `flight ${index} accepted again at ${now}`);
        accepted.add(index);
      }
    }),
    { numRuns: 2_000 },
  );
});
