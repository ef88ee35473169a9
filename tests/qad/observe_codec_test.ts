import assert from "node:assert/strict";
import fc from "fast-check";
import { addressOf } from "../../src/core/address.ts";
import {
  decodeObserve,
  decodeObserved,
  encodeObserve,
  encodeObserved,
  OBSERVE_BYTES,
} from "../../src/qad/observe_codec.ts";
import { hmac as mac } from "./hmac.ts";

const key = { id: new Uint8Array(8).fill(7), key: new Uint8Array(16).fill(1) };
const txid = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
const keyOf = (id: Uint8Array) => id.every((byte) => byte === 7) ? key.key : undefined;

Deno.test("encodeObserve() does make 64 bytes that decodeObserve() reads back", () => {
  for (const [otherPort, direct] of [[false, true], [true, false], [true, true]] as const) {
    const datagram = encodeObserve({ txid, otherPort, direct }, key, { mac });
    assert.equal(datagram.length, OBSERVE_BYTES);
    assert.equal(datagram[0], 3);
    assert.deepEqual(decodeObserve(datagram, { keyOf, mac }), {
      ok: true,
      value: { txid, otherPort, direct },
    });
  }
});

Deno.test("decodeObserve() does refuse every changed byte", () => {
  const datagram = encodeObserve({ txid, otherPort: false }, key, { mac });
  for (let i = 0; i < datagram.length; i++) {
    const changed = datagram.slice();
    changed[i]! ^= 0x10;
    const decoded = decodeObserve(changed, { keyOf, mac });
    assert.equal(decoded.ok, false, `byte ${i}`);
    const wanted = i === 0
      ? "wrong-type"
      : i >= 9 && i < 17
      ? "unknown-key"
      : i === 34 || i === 35
      ? "wrong-length"
      : "bad-mac";
    assert.equal(!decoded.ok && decoded.refused, wanted, `byte ${i}`);
  }
});

Deno.test("encodeObserve() does make questions of any size, and decodeObserve() refuses them cut", () => {
  for (const size of [65, 1_200, 1_472, 9_000, 65_507]) {
    const datagram = encodeObserve({ txid, otherPort: false }, key, { mac, size });
    assert.equal(datagram.length, size);
    assert.equal(decodeObserve(datagram, { keyOf, mac }).ok, true);
    for (const cut of [datagram.subarray(0, size - 1), datagram.subarray(0, OBSERVE_BYTES)]) {
      const wanted = { ok: false, refused: "wrong-length" };
      assert.deepEqual(decodeObserve(cut, { keyOf, mac }), wanted);
    }
    const grown = new Uint8Array(size + 1);
    grown.set(datagram);
    assert.equal(decodeObserve(grown, { keyOf, mac }).ok, false);
    const claimed = datagram.slice(0, OBSERVE_BYTES);
    claimed[34] = claimed[35] = 0;
    assert.deepEqual(decodeObserve(claimed, { keyOf, mac }), { ok: false, refused: "bad-mac" });
  }
});

Deno.test("decodeObserve() does refuse other lengths", () => {
  const datagram = encodeObserve({ txid, otherPort: false }, key, { mac });
  for (const wrong of [datagram.subarray(0, 33), datagram.subarray(0, 63), new Uint8Array(65)]) {
    const typed = wrong.slice();
    typed[0] = 3;
    assert.deepEqual(decodeObserve(typed, { keyOf, mac }), { ok: false, refused: "wrong-length" });
  }
});

Deno.test("encodeObserved() does make what decodeObserved() reads back, shorter than a question", () => {
  for (const address of [addressOf("192.0.2.1", 9), addressOf("2001:db8::1", 65_535)]) {
    const datagram = encodeObserved({ txid, address }, { key: key.key, mac });
    assert.ok(datagram.length <= OBSERVE_BYTES);
    assert.deepEqual(decodeObserved(datagram, { key: key.key, mac }), {
      ok: true,
      value: { txid, address },
    });
  }
});

Deno.test("decodeObserved() does refuse every changed byte and another key", () => {
  const address = addressOf("192.0.2.1", 9);
  const datagram = encodeObserved({ txid, address }, { key: key.key, mac });
  for (let i = 0; i < datagram.length; i++) {
    const changed = datagram.slice();
    changed[i]! ^= 1;
    assert.equal(decodeObserved(changed, { key: key.key, mac }).ok, false, `byte ${i}`);
  }
  const other = decodeObserved(datagram, { key: new Uint8Array(16), mac });
  assert.deepEqual(other, { ok: false, refused: "bad-mac" });
});

Deno.test("decodeObserved() does refuse an address that is none though the mac is right", () => {
  const body = Uint8Array.of(4, ...txid, 2, 1, 1, 1, 1, 0, 1);
  const datagram = Uint8Array.of(...body, ...mac(key.key, body));
  assert.deepEqual(decodeObserved(datagram, { key: key.key, mac }), {
    ok: false,
    refused: "bad-address",
  });
});

Deno.test("decodeObserve() and decodeObserved() do take any bytes without throwing", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
    assert.equal(decodeObserve(bytes, { keyOf, mac }).ok, false);
    assert.equal(decodeObserved(bytes, { key: key.key, mac }).ok, false);
  }));
});
