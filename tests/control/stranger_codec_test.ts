import assert from "node:assert/strict";
import fc from "fast-check";
import { toHex } from "../../src/core/mod.ts";
import {
  decodeStranger,
  encodeStranger,
  MIN_ANSWERED_BYTES,
} from "../../src/control/stranger_codec.ts";

Deno.test("encodeStranger() answers with less than it was asked, and decodeStranger() reads the echo", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 1500 }), (packet) => {
    const answer = encodeStranger(packet);
    if (packet.length < MIN_ANSWERED_BYTES) return assert.equal(answer, undefined);
    assert.ok(answer && answer.length < packet.length);
    assert.equal(decodeStranger(answer), toHex(packet.subarray(1, 9)));
    // Two relays that take each other for clients would fall silent at once.
    assert.equal(encodeStranger(answer), undefined);
  }));
});

Deno.test("decodeStranger() is total", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 20 }), (bytes) => {
    const echo = decodeStranger(bytes);
    assert.equal(echo !== undefined, bytes.length === 9 && bytes[0] === 7);
  }));
});
