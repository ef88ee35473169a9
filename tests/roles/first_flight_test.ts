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
  let heard = 0;
  const flight = new FirstFlight(way, () => heard);
  for (const byte of [1, 2]) flight.transmit(PEER, PEER, Uint8Array.of(byte), 1);
  await until(() => sent.length >= 4);
  deepEqual(sent.slice(0, 4), [1, 2, 1, 2]);
  heard = 1;
  const before = sent.length;
  await new Promise((resolve) => setTimeout(resolve, 900));
  equal(sent.length, before);
});

Deno.test("FirstFlight.stop() ends it, and what goes out later goes once", async () => {
  const { sent, way } = recorder();
  const flight = new FirstFlight(way, () => 0);
  flight.transmit(PEER, PEER, Uint8Array.of(1), 1);
  flight.stop();
  flight.transmit(PEER, PEER, Uint8Array.of(2), 1);
  await new Promise((resolve) => setTimeout(resolve, 900));
  deepEqual(sent, [1, 2]);
});

/** An Initial packet of 1,200 bytes, with a token of so many bytes. */
function initial(tokenBytes: number): Uint8Array {
  const packet = new Uint8Array(1_200);
  packet.set([0xc1, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, tokenBytes]);
  return packet;
}

Deno.test("FirstFlight sends again what has the token that the relay sent it away for, and nothing before", async () => {
  const { sent, way } = recorder();
  let heard = 0;
  const flight = new FirstFlight(way, () => heard);
  flight.transmit(PEER, PEER, initial(0), 1_200);
  flight.transmit(PEER, PEER, Uint8Array.of(1), 1);
  heard = 1;
  flight.transmit(PEER, PEER, initial(40), 1_200);
  flight.transmit(PEER, PEER, Uint8Array.of(2), 1);
  await until(() => sent.length >= 8);
  deepEqual(sent, [0xc1, 1, 0xc1, 2, 0xc1, 2, 0xc1, 2]);
  heard = 2;
  await new Promise((resolve) => setTimeout(resolve, 900));
  equal(sent.length, 8);
});
