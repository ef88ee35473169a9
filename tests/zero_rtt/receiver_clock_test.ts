import assert from "node:assert/strict";
import fc from "fast-check";
import {
  DEFAULT_MAX_FUTURE_MS,
  MARK_EVERY_MS,
  parseMark,
  ReceiverClock,
  receiverStart,
  ReplayGuard,
  serializeMark,
} from "../../src/zero_rtt/mod.ts";

Deno.test("ReceiverClock.at() follows the monotonic clock and never goes back", () => {
  const clock = new ReceiverClock(1_700_000_000_000, 5_000);
  assert.equal(clock.at(5_000), 1_700_000_000_000);
  assert.equal(clock.at(6_234.7), 1_700_000_001_234);
  assert.equal(clock.at(5_500), 1_700_000_001_234);
});

Deno.test("ReceiverClock.stoodStill() makes up for a sleep, and never sets it back", () => {
  const clock = new ReceiverClock(1_700_000_000_000, 5_000);
  clock.stoodStill(600_000);
  assert.equal(clock.at(6_000), 1_700_000_601_000);
  clock.stoodStill(-1_000_000);
  assert.equal(clock.at(6_000), 1_700_000_601_000);
});

Deno.test("receiverStart() begins as its table says", () => {
  const future = DEFAULT_MAX_FUTURE_MS;
  assert.deepEqual(receiverStart(1_000_000), {
    startedAt: 1_000_000,
    refuseUpTo: 1_000_000 + future,
  });
  const mark = { clock: 900_000, latest: 899_000 };
  assert.deepEqual(receiverStart(1_000_000, { mark: { ...mark, clean: false } }), {
    startedAt: 1_000_000,
    refuseUpTo: 1_000_000 + future,
  });
  assert.deepEqual(receiverStart(1_000_000, { mark: { ...mark, clean: true } }), {
    startedAt: 1_000_000,
    refuseUpTo: 999_999,
  });
  assert.deepEqual(
    receiverStart(900_100, { mark: { clock: 900_000, latest: 900_700, clean: true } }),
    {
      startedAt: 900_100,
      refuseUpTo: 900_700,
    },
    "a flight from the future, accepted just before the stop",
  );
  assert.deepEqual(receiverStart(500_000, { mark: { ...mark, clean: true } }), {
    startedAt: 900_000,
    refuseUpTo: 899_999,
  }, "the wall clock was set back");
  assert.deepEqual(receiverStart(500_000, { mark: { ...mark, clean: false } }), {
    startedAt: 900_000 + MARK_EVERY_MS,
    refuseUpTo: 900_000 + MARK_EVERY_MS + future,
  });
});

Deno.test("receiverStart() keeps a flight from being accepted by two processes in turn", () => {
  const run = fc.record({
    issuedAt: fc.integer({ min: 0, max: 5_000 }),
    firstAt: fc.integer({ min: 0, max: 3_000 }),
    downMs: fc.nat(3_000),
    againAfterMs: fc.nat(12_000),
    clean: fc.boolean(),
    setBackMs: fc.constantFrom(0, 0, 60_000, 3_600_000),
  });
  fc.assert(
    fc.property(run, ({ issuedAt, firstAt, downMs, againAfterMs, clean, setBackMs }) => {
      const base = 1_700_000_000_000;
      const stamp = { identity: "agent:a", nonce: new Uint8Array(16), issuedAt: base + issuedAt };
      const first = new ReplayGuard({ refuseUpTo: base - 1 });
      if (first.check(stamp, base + firstAt) !== "accept") return;
      const mark = { clock: base + firstAt, latest: first.latestAccepted, clean };
      const unix = base + firstAt + downMs - setBackMs;
      const start = receiverStart(unix, { mark });
      const second = new ReplayGuard({ refuseUpTo: start.refuseUpTo });
      assert.notEqual(second.check(stamp, start.startedAt + againAfterMs), "accept");
    }),
    { numRuns: 5_000 },
  );
});

Deno.test("receiverStart() lets a return right after a clean restart be early", () => {
  const start = receiverStart(2_000_000, {
    mark: { clock: 1_999_000, latest: 1_998_000, clean: true },
  });
  const guard = new ReplayGuard({ refuseUpTo: start.refuseUpTo });
  const stamp = { identity: "agent:a", nonce: new Uint8Array(16), issuedAt: 2_000_005 };
  assert.equal(guard.check(stamp, 2_000_050), "accept");
});

Deno.test("parseMark() reads what serializeMark() wrote, and any text without a throw", () => {
  const mark = { clock: 1_700_000_000_000, latest: 0, clean: true };
  assert.deepEqual(parseMark(serializeMark(mark)), { ok: mark });
  for (
    const text of ["", "null", "[]", "{", '{"v":2}', `{"v":1,"clock":-1,"latest":0,"clean":true}`]
  ) {
    assert.ok("refused" in parseMark(text), text);
  }
  fc.assert(fc.property(fc.string(), (text) => void parseMark(text)));
  fc.assert(fc.property(fc.json(), (text) => void parseMark(text)));
});
