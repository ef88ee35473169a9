import { equal } from "node:assert/strict";
import { addressOf } from "../../src/core/mod.ts";
import { strangerAnswers } from "../../src/roles/relay_strangers.ts";
import { MemoryNetwork } from "../../src/sockets/mod.ts";

/** A packet in the middle of a connection. */
const PACKET = new Uint8Array(40).fill(0x41);

/** How many of so many packets are answered, from so many ports of one address. */
function answered(ports: number, packetsEach: number): number {
  const socket = new MemoryNetwork().open("192.0.2.1", 4433);
  let count = 0;
  const send = socket.send.bind(socket);
  socket.send = (to, data, segmentSize) => {
    count++;
    return send(to, data, segmentSize);
  };
  const answer = strangerAnswers(socket, { now: () => 1, unix: () => 1 });
  for (let i = 0; i < packetsEach; i++) {
    for (let port = 1; port <= ports; port++) answer(PACKET, addressOf("192.0.2.2", port));
  }
  return count;
}

Deno.test("strangerAnswers() tells all clients of a company, each of them twice, and no flood", () => {
  equal(answered(500, 1), 500);
  equal(answered(500, 10), 1_000);
  equal(answered(1, 1_000), 2);
  equal(answered(10_000, 3), 1_024);
});
