import assert from "node:assert/strict";
import { RecentPackets } from "../../src/tunnel/recent_packets.ts";

function texts(packets: Uint8Array[]): string[] {
  return packets.map((packet) => [...packet].join());
}

Deno.test("RecentPackets.take() does answer the last packets in order, as they were, once", () => {
  const recent = new RecentPackets();
  const reused = Uint8Array.of(1, 2, 3);
  recent.sent(reused, 2, 1000);
  reused.fill(0);
  recent.sent(Uint8Array.of(4), 1, 1010);
  assert.deepEqual(texts(recent.take(1050)), ["1,2", "3", "4"]);
  assert.deepEqual(recent.take(1050), []);
});

Deno.test("RecentPackets.take() does leave out what is old, large, or of another path", () => {
  const recent = new RecentPackets();
  recent.sent(Uint8Array.of(1), 1, 0);
  recent.sent(new Uint8Array(10_000), 1000, 900);
  assert.deepEqual(recent.take(1000), []);
  recent.sent(Uint8Array.of(2), 1, 1000);
  recent.clear();
  recent.sent(Uint8Array.of(3), 1, 1010);
  assert.deepEqual(texts(recent.take(1020)), ["3"]);
});

Deno.test("RecentPackets.take() does answer few packets, the newest, and a bounded number of bytes", () => {
  const recent = new RecentPackets();
  for (let i = 0; i < 100; i++) recent.sent(Uint8Array.of(i), 1, 1000);
  assert.deepEqual(texts(recent.take(1000)), Array.from({ length: 64 }, (_, i) => String(36 + i)));
  for (let i = 0; i < 1000; i++) recent.sent(new Uint8Array(1000), 1000, 1000);
  assert.equal(recent.take(1000).length, 16);
});

Deno.test("RecentPackets.sentSince() does answer what left since then, as often as it is asked", () => {
  const recent = new RecentPackets();
  recent.sent(Uint8Array.of(1), 1, 1000);
  recent.sent(Uint8Array.of(2, 3), 1, 1010);
  assert.deepEqual(texts(recent.sentSince(1005)), ["2", "3"]);
  assert.deepEqual(texts(recent.sentSince(1005)), ["2", "3"]);
  assert.deepEqual(texts(recent.take(1020)), ["1", "2", "3"]);
});
