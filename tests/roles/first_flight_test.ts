import { deepEqual, equal } from "node:assert/strict";
import { addressOf } from "../../src/core/mod.ts";
import type { Egress } from "../../src/quic/mod.ts";
import { FirstFlight } from "../../src/roles/first_flight.ts";

const PEER = addressOf("192.0.2.1", 4433);

function recorder(): { sent: number[]; way: Egress } {
  const sent: number[] = [];
  const way: Egress = {
    packetSize: () => 1200,
    prefix: () => new Uint8Array(),
    transmit: (_local, _peer, data) => {
      sent.push(data[0]!);
      return data.length;
    },
    writable: () => Promise.resolve(),
  };
  return { sent, way };
}

async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, 10));
}

Deno.test("FirstFlight sends everything again, in order, while nobody answers", async () => {
  const { sent, way } = recorder();
  let heard = false;
  const flight = new FirstFlight(way, () => heard);
  for (const byte of [1, 2]) flight.transmit(PEER, PEER, Uint8Array.of(byte), 1);
  await until(() => sent.length >= 4);
  deepEqual(sent.slice(0, 4), [1, 2, 1, 2]);
  heard = true;
  const before = sent.length;
  await new Promise((resolve) => setTimeout(resolve, 900));
  equal(sent.length, before);
});

Deno.test("FirstFlight.stop() ends it, and what goes out later goes once", async () => {
  const { sent, way } = recorder();
  const flight = new FirstFlight(way, () => false);
  flight.transmit(PEER, PEER, Uint8Array.of(1), 1);
  flight.stop();
  flight.transmit(PEER, PEER, Uint8Array.of(2), 1);
  await new Promise((resolve) => setTimeout(resolve, 900));
  deepEqual(sent, [1, 2]);
});
