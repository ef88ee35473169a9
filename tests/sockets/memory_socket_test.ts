import assert from "node:assert/strict";
import { addressOf, UserError } from "../../src/core/mod.ts";
import { MemoryNetwork } from "../../src/sockets/mod.ts";
import { pattern, Recorder } from "./helpers.ts";

Deno.test("MemoryNetwork.flush() delivers trains whole and in order", () => {
  const network = new MemoryNetwork();
  const a = network.open("192.0.2.1", 1000);
  const b = network.open("2001:db8::1", 2000);
  const seen = new Recorder();
  b.receive(seen);
  assert.equal(a.send(b.local, pattern(250), 100), 250);
  assert.equal(a.send(b.local, pattern(7), 7), 7);
  assert.equal(seen.trains.length, 0);
  assert.equal(network.flush(), 4);
  assert.deepEqual(seen.trains, [{ length: 250, segmentSize: 100 }, { length: 7, segmentSize: 7 }]);
  assert.equal(seen.batches, 1);
  assert.equal(seen.datagramsSeen[0]!.from, a.local);
  assert.equal(a.counters.datagramsOut, 4);
  assert.equal(b.counters.bytesIn, 257);
});

Deno.test("MemoryNetwork.open() gives free ports and refuses taken ones", () => {
  const network = new MemoryNetwork();
  const a = network.open("192.0.2.1", 0);
  const b = network.open("192.0.2.1", 0);
  assert.notEqual(a.local.port, b.local.port);
  assert.throws(() => network.open("192.0.2.1", a.local.port), UserError);
  a.close();
  a.close();
  network.open("192.0.2.1", a.local.port);
});

Deno.test("MemoryNetwork `pass` loses single datagrams out of a train", () => {
  const network = new MemoryNetwork({ pass: (_from, _to, datagram) => datagram[0] !== 2 });
  const a = network.open("192.0.2.1", 1);
  const b = network.open("192.0.2.2", 1);
  const seen = new Recorder();
  b.receive(seen);
  a.send(b.local, Uint8Array.of(1, 1, 2, 2, 3, 3, 4), 2);
  assert.equal(network.flush(), 3);
  assert.equal(network.lost, 1);
  assert.deepEqual(seen.datagramsSeen.map((d) => [...d.data]), [[1, 1], [3, 3], [4]]);
});

Deno.test("MemoryNetwork.inject() delays, duplicates and readdresses", () => {
  const held: Uint8Array[] = [];
  const network: MemoryNetwork = new MemoryNetwork({
    pass: (_from, _to, datagram) => {
      held.push(datagram.slice());
      return false;
    },
  });
  const a = network.open("10.0.0.1", 1);
  const b = network.open("192.0.2.2", 1);
  const seen = new Recorder();
  b.receive(seen);
  a.send(b.local, pattern(9), 9);
  assert.equal(network.flush(), 0);
  const outside = addressOf("198.51.100.1", 7777);
  network.inject(outside, b.local, held[0]!);
  network.inject(outside, b.local, held[0]!);
  assert.equal(network.flush(), 2);
  assert.equal(seen.datagramsSeen[1]!.from, outside);
});

Deno.test("MemoryNetwork `automatic` delivers answers by itself", async () => {
  const network = new MemoryNetwork({ automatic: true });
  const a = network.open("192.0.2.1", 1);
  const b = network.open("192.0.2.2", 1);
  const back = new Recorder();
  a.receive(back);
  b.receive({ datagrams: (data, size, from) => void b.send(from, data, size), batchEnd() {} });
  a.send(b.local, pattern(30), 10);
  await back.arrived(3);
});

Deno.test("MemoryNetwork loses what goes nowhere", () => {
  const network = new MemoryNetwork();
  const a = network.open("192.0.2.1", 1);
  const b = network.open("192.0.2.2", 1);
  a.send(addressOf("192.0.2.9", 9), pattern(30), 10);
  a.send(b.local, pattern(10), 10);
  b.receive({
    datagrams: () => assert.fail("a closed socket was handed a datagram"),
    batchEnd() {},
  });
  b.close();
  assert.equal(network.flush(), 0);
  assert.equal(network.lost, 4);
});

Deno.test("MemorySocket.send() takes less at its capacity, writable() says when there is room", async () => {
  const network = new MemoryNetwork();
  const a = network.open("192.0.2.1", 1, { capacity: 4 });
  const b = network.open("192.0.2.2", 1);
  b.receive(new Recorder());
  assert.equal(a.send(b.local, pattern(100), 10), 40);
  assert.equal(a.send(b.local, pattern(100), 10), 0);
  assert.equal(a.counters.sendBlocked, 2);
  let room = false;
  const writable = a.writable().then(() => room = true);
  await Promise.resolve();
  assert.equal(room, false);
  network.flush();
  await writable;
  assert.equal(a.send(b.local, pattern(25), 10), 25);
  a.close();
  await a.writable();
  assert.equal(a.send(b.local, pattern(25), 10), 25);
});

Deno.test("MemoryNetwork.flush() ends with an error where two answer each other for ever", () => {
  const network = new MemoryNetwork();
  const sockets = [1, 2].map((port) => network.open("192.0.2.1", port));
  for (const socket of sockets) {
    socket.receive({
      datagrams: (data, size, from) => void socket.send(from, data, size),
      batchEnd() {},
    });
  }
  sockets[0]!.send(sockets[1]!.local, pattern(1), 1);
  assert.throws(() => network.flush(), RangeError);
});
