import assert from "node:assert/strict";
import fc from "fast-check";
import { addressOf } from "../../src/core/mod.ts";
import {
  addressOfPeer,
  decodeSockaddr,
  encodeSockaddr,
  SOCKADDR_SLOT,
  SockaddrReader,
} from "../../src/sockets/sockaddr.ts";

const address = fc.tuple(fc.oneof(fc.ipV4(), fc.ipV6()), fc.integer({ min: 0, max: 65_535 }))
  .map(([host, port]) => addressOf(host, port));

Deno.test("encodeSockaddr() lays IPv4 out as the kernel does", () => {
  assert.deepEqual(
    [...encodeSockaddr(addressOf("192.0.2.1", 0x1234), 4)!],
    [2, 0, 0x12, 0x34, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0],
  );
});

Deno.test("encodeSockaddr() lays IPv6 and mapped IPv4 out as the kernel does", () => {
  const head = [10, 0, 0x12, 0x34, 0, 0, 0, 0];
  assert.deepEqual(
    [...encodeSockaddr(addressOf("2001:db8::7", 0x1234), 6)!],
    [...head, 0x20, 1, 0xd, 0xb8, ...Array(11).fill(0), 7, 0, 0, 0, 0],
  );
  assert.deepEqual(
    [...encodeSockaddr(addressOf("192.0.2.1", 0x1234), 6)!],
    [...head, ...Array(10).fill(0), 255, 255, 192, 0, 2, 1, 0, 0, 0, 0],
  );
});

Deno.test("encodeSockaddr() has no IPv6 for an IPv4 socket", () => {
  assert.equal(encodeSockaddr(addressOf("::1", 1), 4), undefined);
});

Deno.test("decodeSockaddr() reads back every address, as the same object", () => {
  fc.assert(fc.property(address, (wanted) => {
    assert.equal(decodeSockaddr(encodeSockaddr(wanted, 6)!)?.key, wanted.key);
    if (wanted.family === 4) {
      assert.equal(decodeSockaddr(encodeSockaddr(wanted, 4)!), addressOf(wanted.host, wanted.port));
    }
  }));
});

Deno.test("decodeSockaddr() takes any bytes", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
    const result = decodeSockaddr(bytes);
    assert.ok(result === undefined || result.port >= 0);
  }));
  for (const family of [0, 1, 3, 11]) {
    assert.equal(decodeSockaddr(Uint8Array.of(family, ...Array(27).fill(0))), undefined);
  }
});

Deno.test("SockaddrReader.at() agrees with decodeSockaddr() beyond its bound", () => {
  const slots = new Uint8Array(2 * SOCKADDR_SLOT);
  const reader = new SockaddrReader(slots);
  for (let i = 0; i < 10_000; i++) {
    const wanted = addressOf(`10.${i & 7}.${i >> 8 & 255}.${i & 255}`, i % 5000);
    slots.set(encodeSockaddr(wanted, 6)!, SOCKADDR_SLOT);
    assert.equal(reader.at(1, 28)?.key, wanted.key);
    assert.equal(reader.at(1, 28), reader.at(1, 28));
  }
  assert.equal(reader.at(0, 28), undefined);
});

Deno.test("SockaddrReader.same() sees every difference in address and port", () => {
  fc.assert(fc.property(address, address, (a, b) => {
    const slots = new Uint8Array(2 * SOCKADDR_SLOT);
    slots.set(encodeSockaddr(a, 6)!, 0);
    slots.set(encodeSockaddr(b, 6)!, SOCKADDR_SLOT);
    assert.equal(new SockaddrReader(slots).same(0, 1, 28), a.key === b.key);
  }));
});

Deno.test("addressOfPeer() gives IPv4-mapped addresses as the IPv4 object", () => {
  const peer = { transport: "udp" as const, hostname: "::ffff:192.0.2.9", port: 5 };
  assert.equal(addressOfPeer(peer), addressOf("192.0.2.9", 5));
  assert.equal(addressOfPeer({ ...peer, hostname: "::1" }), addressOf("::1", 5));
});
