import assert from "node:assert/strict";
import fc from "fast-check";
import { issueTime, learnOffset, MAX_TICKET_AGE_MS, ReplayGuard } from "../../src/zero_rtt/mod.ts";

Deno.test("learnOffset() refuses numbers that are no times", () => {
  const good = { receiverNow: 1_000, receivedAt: 2_000, roundTripMs: 10 };
  assert.deepEqual(learnOffset(good), { offsetMs: -1_000, uncertaintyMs: 10, learnedAt: 2_000 });
  for (const wrong of [NaN, Infinity, -1, 2 ** 60]) {
    assert.equal(learnOffset({ ...good, receiverNow: wrong }), undefined);
    assert.equal(learnOffset({ ...good, receivedAt: wrong }), undefined);
  }
  for (const wrong of [NaN, Infinity, -1]) {
    assert.equal(learnOffset({ ...good, roundTripMs: wrong }), undefined);
  }
});

Deno.test("issueTime() is early data for a client of any skew after its first visit", () => {
  const visit = fc.record({
    skewMs: fc.integer({ min: -4 * 3_600_000, max: 4 * 3_600_000 }),
    thereMs: fc.nat(2_000),
    backMs: fc.nat(2_000),
    away: fc.oneof(
      // Half a day with clocks that nobody sets right, in millionths …
      fc.record({ ms: fc.nat(12 * 3_600_000), drift: fc.integer({ min: -50, max: 50 }) }),
      // … or a ticket's whole life with clocks that are set.
      fc.record({ ms: fc.nat(MAX_TICKET_AGE_MS), drift: fc.constant(0) }),
    ),
    returnMs: fc.nat(1_500),
  });
  fc.assert(
    fc.property(visit, ({ skewMs, thereMs, backMs, away, returnMs }) => {
      const base = 1_700_000_000_000;
      const answered = base + thereMs;
      const offset = learnOffset({
        receiverNow: answered,
        receivedAt: answered + backMs + skewMs,
        roundTripMs: thereMs + backMs,
      })!;
      const returning = answered + backMs + away.ms;
      const issuedAt = issueTime(offset, returning + skewMs + away.ms * away.drift * 1e-6);
      assert.ok(issuedAt <= returning + 1, "never ahead");
      const guard = new ReplayGuard({ refuseUpTo: base });
      const stamp = { identity: "agent:a", nonce: new Uint8Array(16), issuedAt };
      const verdict = guard.check(stamp, returning + returnMs);
      if (returning - base > 15_000) assert.equal(verdict, "accept");
    }),
    { numRuns: 3_000 },
  );
});
