import assert from "node:assert/strict";
import { PipeBuffer } from "../../src/mux/buffer_pool.ts";

const KIB = 1024;

Deno.test("PipeBuffer.used() does make it larger when it was filled, and smaller when it was not", () => {
  const buffer = new PipeBuffer();
  const lengths = [];
  for (const used of [100, 4 * KIB, 32 * KIB, 256 * KIB, 100_000, 10_000, 1_000, 1_000]) {
    lengths.push(buffer.take().length / KIB);
    buffer.used(used);
  }
  buffer.release();
  assert.deepEqual(lengths, [4, 4, 32, 256, 256, 256, 32, 4]);
});

Deno.test("PipeBuffer.take() does give what is in hand, and another after a release", () => {
  const one = new PipeBuffer();
  const bytes = one.take();
  assert.equal(one.take(), bytes);
  const other = new PipeBuffer();
  assert.notEqual(other.take(), bytes);
  one.release();
  one.release();
  const third = new PipeBuffer();
  assert.equal(third.take(), bytes);
  other.release();
  third.release();
});

Deno.test("PipeBuffer.take() does lend 64 large ones at a time, and large ones again when they are back", () => {
  const crowd = Array.from({ length: 80 }, () => new PipeBuffer());
  for (let round = 0; round < 2; round++) {
    for (const buffer of crowd) {
      buffer.take();
      buffer.used(4 * KIB);
      buffer.take();
      buffer.used(32 * KIB);
      buffer.take();
    }
    const sizes = crowd.map((buffer) => buffer.take().length / KIB);
    assert.equal(sizes.filter((size) => size === 256).length, 64);
    assert.equal(sizes.filter((size) => size === 32).length, 16);
    for (const buffer of crowd) buffer.release();
  }
});
