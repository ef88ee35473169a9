import assert from "node:assert/strict";
import fc from "fast-check";
import { encodeMessage, FrameReader, MAX_MESSAGE_BYTES } from "../../src/control/framing.ts";
import { concatBytes, encodeUtf8 } from "../../src/core/mod.ts";

function framed(body: Uint8Array, length = body.length): Uint8Array {
  const header = new Uint8Array(4);
  new DataView(header.buffer).setUint32(0, length);
  return concatBytes(header, body);
}

/** Cuts `bytes` at the given places. */
function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const at = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  const edges = [0, ...at, bytes.length];
  return edges.slice(1).map((end, i) => bytes.subarray(edges[i], end));
}

function readAll(chunks: Iterable<Uint8Array>) {
  const reader = new FrameReader();
  const frames: unknown[] = [];
  let refused;
  for (const chunk of chunks) {
    const read = reader.read(chunk);
    frames.push(...read.frames);
    refused = read.refused;
    assert.ok(reader.heldBytes <= MAX_MESSAGE_BYTES + 4, `holds ${reader.heldBytes} bytes`);
  }
  return { frames, refused };
}

Deno.test("encodeMessage() puts the length in front", () => {
  assert.deepEqual([...encodeMessage({})], [0, 0, 0, 2, 0x7b, 0x7d]);
});

Deno.test("encodeMessage() takes 64 KiB and not a byte more", () => {
  const overhead = `{"text":""}`.length;
  const bytes = encodeMessage({ text: "x".repeat(MAX_MESSAGE_BYTES - overhead) });
  assert.equal(readAll([bytes]).frames.length, 1);
  assert.throws(
    () => encodeMessage({ text: "x".repeat(MAX_MESSAGE_BYTES - overhead + 1) }),
    new RangeError("Cannot send a control message of 65537 bytes as 65536 is the most"),
  );
});

Deno.test("FrameReader.read() gives the same frames for any chunking", () => {
  const message = fc.object({ maxDepth: 2 });
  fc.assert(
    fc.property(fc.array(message, { maxLength: 8 }), fc.array(fc.nat()), (messages, places) => {
      const bytes = concatBytes(...messages.map(encodeMessage));
      const { frames, refused } = readAll(cut(bytes, places));
      assert.equal(refused, undefined);
      assert.deepEqual(frames, messages.map((value) => JSON.parse(JSON.stringify(value))));
    }),
  );
});

Deno.test("FrameReader.read() gives the same frames byte by byte, also large ones", () => {
  const message = { text: "ü".repeat(30_000) };
  const bytes = concatBytes(encodeMessage(message), encodeMessage({ last: true }));
  const single = Array.from(bytes, (_, i) => bytes.subarray(i, i + 1));
  assert.deepEqual(readAll(single).frames, [message, { last: true }]);
});

Deno.test("FrameReader.read() never throws and answers the same for any chunking of any bytes", () => {
  const anyBytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    // Bytes that look like frames get further.
    fc.array(fc.tuple(fc.uint8Array({ maxLength: 20 }), fc.integer({ min: 0, max: 3 })), {
      maxLength: 5,
    }).map((parts) =>
      concatBytes(...parts.map(([body, off]) => framed(body, Math.max(0, body.length - off))))
    ),
  );
  fc.assert(
    fc.property(anyBytes, fc.array(fc.nat()), (bytes, places) => {
      assert.deepEqual(readAll(cut(bytes, places)), readAll([bytes]));
    }),
    { numRuns: 500 },
  );
});

Deno.test("FrameReader.read() refuses what is no message, and everything after it", () => {
  const cases: [string, Uint8Array, string][] = [
    ["too long", framed(new Uint8Array(0), MAX_MESSAGE_BYTES + 1), "too-long"],
    ["as long as can be said", framed(new Uint8Array(0), 0xffff_ffff), "too-long"],
    ["empty", framed(new Uint8Array(0)), "not-json"],
    ["not JSON", framed(encodeUtf8("hello")), "not-json"],
    ["cut JSON", framed(encodeUtf8(`{"type":`)), "not-json"],
    ["two values", framed(encodeUtf8("{}{}")), "not-json"],
    ["not UTF-8", framed(Uint8Array.of(0x22, 0xff, 0x22)), "not-utf8"],
    ["overlong UTF-8", framed(Uint8Array.of(0x22, 0xc0, 0xaf, 0x22)), "not-utf8"],
    ["UTF-8 surrogate", framed(Uint8Array.of(0x22, 0xed, 0xa0, 0x80, 0x22)), "not-utf8"],
    ["deep nesting cut off", framed(encodeUtf8("[".repeat(60_000))), "not-json"],
  ];
  for (const [name, bytes, code] of cases) {
    const reader = new FrameReader();
    const good = encodeMessage({ good: true });
    const { frames, refused } = reader.read(concatBytes(good, bytes, good));
    assert.deepEqual(frames, [{ good: true }], name);
    assert.equal(refused?.code, code, name);
    assert.deepEqual(reader.read(good), { frames: [], refused }, name);
    assert.equal(reader.heldBytes, 0, name);
  }
});

Deno.test("FrameReader.read() keeps no reference to the piece it was given", () => {
  const bytes = encodeMessage({ a: 1 });
  const reader = new FrameReader();
  const piece = bytes.slice(0, 6);
  reader.read(piece);
  piece.fill(0);
  assert.deepEqual(reader.read(bytes.subarray(6)).frames, [{ a: 1 }]);
});
