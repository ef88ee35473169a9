import assert from "node:assert/strict";
import fc from "fast-check";
import { Pacer } from "../../src/quic/pacer.ts";

const SIZE = 1350;

/** Sends as much as the pacer allows, every millisecond; the bytes sent. */
function drive(pacer: Pacer, milliseconds: number, from = 0, burst = 96): number {
  let sent = 0;
  for (let now = from; now < from + milliseconds; now++) {
    const packets = Math.min(burst, pacer.allowance(SIZE, now));
    pacer.spend(packets * SIZE);
    sent += packets * SIZE;
  }
  return sent;
}

Deno.test("Pacer.allowance() lets everything through before the path is known", () => {
  const pacer = new Pacer();
  assert.equal(pacer.allowance(SIZE, 0), Infinity);
  pacer.spend(1_000_000);
  assert.equal(pacer.allowance(SIZE, 1), Infinity);
});

Deno.test("Pacer.wantsLook() does not bother with connections that say little", () => {
  const pacer = new Pacer();
  assert.equal(pacer.wantsLook(0), false);
  pacer.spend(10_000);
  assert.equal(pacer.wantsLook(1_000), false);
  pacer.spend(10_000);
  assert.equal(pacer.wantsLook(1_000), true);
  pacer.look(undefined, 1_000);
  assert.equal(pacer.wantsLook(1_000), false);
});

Deno.test("Pacer.allowance() spreads the window over the round trip", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 14_720, max: 4_000_000 }),
      fc.integer({ min: 2, max: 500 }),
      fc.boolean(),
      (cwnd, rtt, lost) => {
        const pacer = new Pacer();
        pacer.look({ cwnd, rtt, lost: lost ? 1 : 0 }, 0);
        const gain = lost ? 1.25 : 2;
        const sent = drive(pacer, 1_000, 0, Infinity);
        const rate = gain * cwnd / rtt;
        const burst = Math.max(14_720, 4 * rate);
        assert.ok(sent <= rate * 1_000 + burst, `${sent} bytes`);
        assert.ok(sent >= rate * 999 - SIZE, `${sent} bytes`);
      },
    ),
  );
});

Deno.test("Pacer.allowance() after a silence is a few milliseconds' worth, not all of it", () => {
  const pacer = new Pacer();
  // 100 bytes a millisecond, then 10,000.
  pacer.look({ cwnd: 20_000, rtt: 400, lost: 0 }, 0);
  drive(pacer, 1_000);
  assert.equal(pacer.allowance(SIZE, 100_000), Math.floor(14_720 / SIZE));
  pacer.look({ cwnd: 1_000_000, rtt: 200, lost: 0 }, 100_000);
  drive(pacer, 1_000, 100_000);
  assert.equal(pacer.allowance(SIZE, 200_000), Math.floor(40_000 / SIZE));
});

Deno.test("Pacer.look() believes the shortest round trip, until the path changes", () => {
  const pacer = new Pacer();
  const paced = (from: number) => drive(pacer, 1_000, from, Infinity);
  pacer.look({ cwnd: 100_000, rtt: 20, lost: 1 }, 0);
  const before = paced(0);
  pacer.look({ cwnd: 100_000, rtt: 4_000, lost: 1 }, 1_000);
  assert.ok(Math.abs(paced(1_000) - before) < 100_000);
  pacer.reset();
  pacer.look({ cwnd: 100_000, rtt: 200, lost: 1 }, 2_000);
  assert.ok(paced(2_000) < before / 8);
});

Deno.test("Pacer.look() stops pacing where the round trip is too short for timers", () => {
  const pacer = new Pacer();
  pacer.look({ cwnd: 20_000, rtt: 200, lost: 0 }, 0);
  assert.notEqual(pacer.allowance(SIZE, 0), Infinity);
  pacer.look({ cwnd: 20_000, rtt: 1, lost: 0 }, 10);
  assert.equal(pacer.allowance(SIZE, 10), Infinity);
});

Deno.test("Pacer.answered() ends a starvation that a round trip taken for far too long began", () => {
  const pacer = new Pacer();
  pacer.look({ cwnd: 20_000, rtt: 700, lost: 1 }, 0);
  drive(pacer, 1_000);
  assert.ok(drive(pacer, 100, 1_000) <= 3 * SIZE, "a packet now and then");
  pacer.answered(10, 1_100);
  const sent = drive(pacer, 1_000, 1_100);
  assert.ok(sent >= 0.9 * 1.25 * 20_000 / 10 * 1_000, `${sent} bytes in a second`);
  // A longer one proves nothing: more was under way.
  pacer.answered(500, 2_100);
  assert.equal(pacer.shortestRtt, 10);
});

Deno.test("Pacer.worthHaving() is what may leave and a little more, or everything where nothing is paced", () => {
  const pacer = new Pacer();
  assert.equal(pacer.worthHaving(0), Infinity);
  // 1,250 bytes a millisecond.
  pacer.look({ cwnd: 40_000, rtt: 40, lost: 1 }, 0);
  drive(pacer, 1_000);
  const some = pacer.worthHaving(1_000);
  assert.ok(some > 1_472 && some < 10_000, `${some} bytes`);
});

Deno.test("Pacer.look() does not pace a window that may leave at once anyway", () => {
  const pacer = new Pacer();
  pacer.look({ cwnd: 20_000, rtt: 700, lost: 1 }, 0);
  assert.notEqual(pacer.allowance(SIZE, 0), Infinity);
  pacer.look({ cwnd: 10_304, rtt: 700, lost: 2 }, 10);
  assert.equal(pacer.allowance(SIZE, 10), Infinity);
});

Deno.test("Pacer.held() finds a round trip that was taken for far too long", () => {
  const pacer = new Pacer();
  pacer.look({ cwnd: 20_000, rtt: 1_000, lost: 1 }, 0);
  for (let now = 0; now < 900; now++) pacer.held(now);
  assert.equal(pacer.shortestRtt, 125);
  // A window that is full now and then is paced as it should be.
  pacer.free();
  for (let now = 1_000; now < 3_000; now++) {
    if (now % 125 < 100) pacer.held(now);
    else pacer.free();
  }
  assert.equal(pacer.shortestRtt, 125);
});
