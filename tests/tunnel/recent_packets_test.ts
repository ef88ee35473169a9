import assert from "node:assert/strict";
import { RecentPackets } from "../../src/tunnel/recent_packets.ts";

function create(): { recent: RecentPackets; around: string[] } {
  const around: string[] = [];
  const recent = new RecentPackets((packet) => around.push([...packet].join()));
  return { recent, around };
}

Deno.test("RecentPackets.silent() does send the last packets around, in order, and what follows", () => {
  const { recent, around } = create();
  const reused = Uint8Array.of(1, 2, 3);
  recent.sent(reused, 2, 1000);
  reused.fill(0);
  recent.sent(Uint8Array.of(4), 1, 1010);
  assert.deepEqual(around, []);
  recent.silent(1050);
  recent.sent(Uint8Array.of(5), 1, 1060);
  assert.deepEqual(around, ["1,2", "3", "4", "5"]);
  recent.heard();
  recent.sent(Uint8Array.of(6), 1, 1070);
  assert.equal(around.length, 4);
});

Deno.test("RecentPackets.silent() does leave out what is old, large, or of another path", () => {
  const { recent, around } = create();
  recent.sent(Uint8Array.of(1), 1, 0);
  recent.sent(new Uint8Array(10_000), 1000, 900);
  recent.silent(1000);
  assert.deepEqual(around, []);
  recent.sent(Uint8Array.of(2), 1, 1000);
  recent.clear();
  recent.sent(Uint8Array.of(3), 1, 1010);
  recent.silent(1020);
  assert.deepEqual(around, ["2", "3"]);
});

Deno.test("RecentPackets does keep few packets, the newest, and sends a bounded number of bytes", () => {
  const { recent, around } = create();
  for (let i = 0; i < 100; i++) recent.sent(Uint8Array.of(i), 1, 1000);
  recent.silent(1000);
  assert.deepEqual(around, Array.from({ length: 32 }, (_, i) => String(68 + i)));
  around.length = 0;
  for (let i = 0; i < 1000; i++) recent.sent(new Uint8Array(1000), 1000, 1000);
  assert.equal(around.length, 65);
});
