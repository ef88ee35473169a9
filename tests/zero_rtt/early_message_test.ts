import assert from "node:assert/strict";
import fc from "fast-check";
import {
  decodeEarlyAnswer,
  decodeEarlyMessage,
  EARLY_ANSWER_BYTES,
  EARLY_MESSAGE_BYTES,
  EARLY_RESULTS,
  encodeEarlyAnswer,
  encodeEarlyMessage,
} from "../../src/zero_rtt/mod.ts";
import { fromHex, toHex } from "../../src/core/mod.ts";

const nonce = fc.uint8Array({ minLength: 16, maxLength: 16 });
const time = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });

Deno.test("encodeEarlyMessage() lays the bytes out as documented", () => {
  const message = { nonce: fromHex("000102030405060708090a0b0c0d0e0f")!, issuedAt: 0x18bcfe56800 };
  const hex = "01000102030405060708090a0b0c0d0e0f0000018bcfe56800";
  assert.equal(toHex(encodeEarlyMessage(message)), hex);
  assert.throws(() => encodeEarlyMessage({ ...message, nonce: new Uint8Array(15) }), RangeError);
  assert.throws(() => encodeEarlyMessage({ ...message, issuedAt: -1 }), RangeError);
  assert.throws(() => encodeEarlyMessage({ ...message, issuedAt: 1.5 }), RangeError);
});

Deno.test("decodeEarlyMessage() reads what encodeEarlyMessage() wrote", () => {
  fc.assert(fc.property(nonce, fc.option(time), (bytes, issuedAt) => {
    const message = { nonce: Uint8Array.from(bytes), issuedAt };
    assert.deepEqual(decodeEarlyMessage(encodeEarlyMessage(message)), { ok: message });
  }));
});

Deno.test("decodeEarlyAnswer() reads what encodeEarlyAnswer() wrote", () => {
  fc.assert(fc.property(fc.constantFrom(...EARLY_RESULTS), time, (result, now) => {
    assert.deepEqual(decodeEarlyAnswer(encodeEarlyAnswer({ result, now })), {
      ok: { result, now },
    });
  }));
});

Deno.test("decodeEarlyMessage() and decodeEarlyAnswer() take any bytes", () => {
  const any = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.uint8Array({ minLength: EARLY_MESSAGE_BYTES, maxLength: EARLY_MESSAGE_BYTES }),
    fc.uint8Array({ minLength: EARLY_ANSWER_BYTES, maxLength: EARLY_ANSWER_BYTES }),
  );
  fc.assert(
    fc.property(any, fc.boolean(), (bytes, versioned) => {
      if (versioned && bytes.length > 0) bytes[0] = 1;
      const message = decodeEarlyMessage(bytes);
      if ("ok" in message) assert.deepEqual(encodeEarlyMessage(message.ok), Uint8Array.from(bytes));
      const answer = decodeEarlyAnswer(bytes);
      if ("ok" in answer) assert.deepEqual(encodeEarlyAnswer(answer.ok), Uint8Array.from(bytes));
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("decodeEarlyMessage() says why it refuses", () => {
  const good = encodeEarlyMessage({ nonce: new Uint8Array(16), issuedAt: 1 });
  const cases: [Uint8Array, string][] = [
    [good.subarray(1), "Cannot read an early message as it has 24 bytes, not 25"],
    [good.with(0, 9), "Cannot read an early message as it has version 9, not 1"],
    [good.with(17, 255), "Cannot read an early message as its issue time is out of range"],
  ];
  for (const [bytes, refused] of cases) assert.deepEqual(decodeEarlyMessage(bytes), { refused });
  const answer = encodeEarlyAnswer({ result: "full", now: 5 });
  assert.deepEqual(decodeEarlyAnswer(answer.with(1, 6)), {
    refused: "Cannot read an early answer as it has result 6",
  });
});
