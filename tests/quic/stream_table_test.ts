import assert from "node:assert/strict";
import { type QuicStream, STREAM_END } from "../../src/quic/mod.ts";
import { createPair } from "./pair.ts";

async function countAll(stream: QuicStream, got: (bytes: number) => void): Promise<void> {
  const buffer = new Uint8Array(65_536);
  for (;;) {
    const length = stream.read(buffer);
    if (length === STREAM_END) return;
    if (length === 0) await stream.readable();
    else got(length);
  }
}

Deno.test("StreamTable gives writers that wait equal shares", async () => {
  const total = 24 << 20;
  const bytes = new Map<number, number>();
  const enough = Promise.withResolvers<void>();
  let sum = 0;
  const pair = await createPair({
    server: () => ({
      stream: (stream) =>
        void countAll(stream, (length) => {
          bytes.set(stream.id, (bytes.get(stream.id) ?? 0) + length);
          if ((sum += length) >= total) enough.resolve();
        }),
    }),
  });
  await pair.established;
  const block = new Uint8Array(256 * 1024);
  const write = async () => {
    const stream = pair.client.openStream()!;
    while (sum < total && await stream.writeAll(block));
  };
  const writing = [write(), write(), write(), write()];
  await enough.promise;
  const shares = [...bytes.values()];
  pair.close();
  await Promise.all(writing);
  assert.equal(shares.length, 4);
  assert.ok(Math.max(...shares) < 1.25 * Math.min(...shares), `shares: ${shares.join(", ")}`);
});

Deno.test("StreamTable finds streams that come out of order", async () => {
  let count = 0;
  const pair = await createPair({
    server: () => ({
      stream: async (stream) => {
        let length = 0;
        await countAll(stream, (bytes) => length += bytes);
        await stream.writeAll(new Uint8Array(length));
        stream.finish();
      },
    }),
    deliver: () => ++count < 20 || count % 7 !== 0,
  });
  await pair.established;
  const exchange = async (size: number) => {
    let stream = pair.client.openStream();
    while (!stream) {
      await pair.client.streamCredit();
      stream = pair.client.openStream();
    }
    await stream.writeAll(new Uint8Array(size));
    stream.finish();
    let back = 0;
    await countAll(stream, (bytes) => back += bytes);
    assert.equal(back, size);
  };
  for (let round = 0; round < 4; round++) {
    await Promise.all(Array.from({ length: 90 }, (_, i) => exchange(1 + i * 17)));
  }
  assert.equal(pair.client.streamCount, 0);
  assert.equal((await pair.server).streamCount, 0);
  pair.close();
});

Deno.test("StreamTable serves others while an application does not read", async () => {
  const stalled: QuicStream[] = [];
  const pair = await createPair({
    server: () => ({
      stream: async (stream) => {
        const head = new Uint8Array(1);
        while (stream.read(head) === 0) await stream.readable();
        if (head[0] === 1) return void stalled.push(stream);
        let length = 1;
        await countAll(stream, (bytes) => length += bytes);
        await stream.writeAll(new Uint8Array(length));
        stream.finish();
      },
    }),
  });
  await pair.established;
  for (let i = 0; i < 3; i++) {
    const stream = pair.client.openStream()!;
    await stream.writeAll(new Uint8Array(10_000).fill(1));
  }
  for (let i = 0; i < 50; i++) {
    const stream = pair.client.openStream()!;
    await stream.writeAll(new Uint8Array(3_000));
    stream.finish();
    let back = 0;
    await countAll(stream, (bytes) => back += bytes);
    assert.equal(back, 3_000);
  }
  assert.equal(stalled.length, 3);
  pair.close();
});

Deno.test("StreamTable serves a stream that sends little before those that send much", async () => {
  const pair = await createPair({
    server: () => ({
      stream: async (stream) => {
        const buffer = new Uint8Array(65_536);
        for (;;) {
          const length = stream.read(buffer);
          if (length === STREAM_END) return;
          if (length === 0) await stream.readable();
          else if (length <= 100) await stream.writeAll(buffer.subarray(0, length));
        }
      },
    }),
  });
  await pair.established;
  const block = new Uint8Array(1 << 20);
  const bulk = Array.from({ length: 4 }, () => pair.client.openStream()!);
  let over = false;
  const floods = bulk.map(async (stream) => {
    while (!over) await stream.writeAll(block);
  });
  while (bulk.some(({ bytesOut }) => bytesOut < 1 << 20)) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const small = pair.client.openStream()!;
  const sentBefore = bulk.reduce((sum, { bytesOut }) => sum + bytesOut, 0);
  const buffer = new Uint8Array(100);
  const rounds = 20;
  for (let i = 0; i < rounds; i++) {
    await small.writeAll(buffer);
    for (let got = 0; got < buffer.length;) {
      await small.readable();
      got += Math.max(0, small.read(buffer));
    }
  }
  assert.ok(small.prompt);
  assert.ok(bulk.every(({ prompt }) => !prompt));
  // In turns of 16 KiB at least, it would have waited for four others each time.
  const each = (bulk.reduce((sum, { bytesOut }) => sum + bytesOut, 0) - sentBefore) / rounds;
  assert.ok(each < 2 << 20, `others sent ${each} bytes per answer`);
  over = true;
  pair.close();
  await Promise.all(floods);
});
