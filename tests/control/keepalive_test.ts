import assert from "node:assert/strict";
import { CHECK_INTERVAL_MS, Keepalive, MAX_MISSED_PINGS } from "../../src/control/keepalive.ts";

/** Milliseconds from a check until the relay counts as gone, when it says nothing any more. */
function goneAfter(keepalive: Keepalive, from: number): number {
  keepalive.check(from);
  for (let i = 0; i < 10; i++) {
    const { due } = keepalive;
    if ("dead" in keepalive.tick(due)!) return due - from;
  }
  throw new Error("never");
}

Deno.test("Keepalive.check() finds out within about a second that the relay is gone", () => {
  const keepalive = new Keepalive(0);
  assert.equal(goneAfter(keepalive, 0), MAX_MISSED_PINGS * CHECK_INTERVAL_MS);
  assert.ok(MAX_MISSED_PINGS * CHECK_INTERVAL_MS < 1_500);
});

Deno.test("Keepalive.check() gives a far relay time to answer", () => {
  const keepalive = new Keepalive(0);
  const { ping } = keepalive.check(0);
  assert.equal(keepalive.pong(ping, 1_200), 1_200);
  keepalive.heard(1_200);
  assert.ok(goneAfter(keepalive, 2_000) >= MAX_MISSED_PINGS * 1_200);
});
