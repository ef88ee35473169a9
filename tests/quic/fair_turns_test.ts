/**
 * Whose turn it is when several send as much as they may: nothing of an engine, nor of a clock, decides here.
 * @module
 */
import assert from "node:assert/strict";
import type { NativeConnection } from "../../src/quic/engine.ts";
import type { QuicStream } from "../../src/quic/mod.ts";
import { StreamTable } from "../../src/quic/stream_table.ts";

const turn = () => new Promise<void>((resolve) => setTimeout(resolve, 0));

/** A table whose engine takes all that it is given, and a pacer that gives room when told to. */
function createTable(): { table: StreamTable; give: (bytes: number) => Promise<void> } {
  let room = 0;
  const engine = {
    peerStreamsLeftBidi: () => 100,
    streamSend: (_id: number, data: Uint8Array) => data.length,
    streamPriority: () => {},
    streamCapacity: () => 1 << 20,
    isReadable: () => false,
  };
  const table = new StreamTable({
    native: engine as unknown as NativeConnection,
    isClient: true,
    touched: () => {},
    wroteLittle: () => {},
    wrote: (bytes) => void (room -= bytes),
    bulkRoom: () => room,
    awaitRoom: () => {},
    lookAgain: () => {},
    opened: () => {},
  });
  return {
    table,
    give: async (bytes) => {
      room += bytes;
      // Who has read meanwhile finds it before the table has looked.
      await turn();
      table.process(0);
      await turn();
    },
  };
}

/** Writes blocks of so many bytes for ever, as a pipe does: reads one, hands it over, reads the next. */
async function pump(stream: QuicStream, block: number): Promise<void> {
  const data = new Uint8Array(block);
  while (!stream.dead) {
    await turn();
    await stream.writeAll(data);
  }
}

/** Before these, each is far beyond what counts as little, and room is what holds them up. */
async function settle(give: (bytes: number) => Promise<void>): Promise<void> {
  for (let i = 0; i < 60; i++) await give(20_000);
}

Deno.test("StreamTable gives equal turns, whether a writer hands over large blocks or small ones", async () => {
  const { table, give } = createTable();
  const blocks = [262_144, 65_536, 32_768, 12_000];
  const streams = blocks.map(() => table.open()!);
  const pumps = streams.map((stream, i) => pump(stream, blocks[i]!));
  // What a pacer gives in a millisecond of 40 Mbit/s: never the same, and no multiple of anything.
  for (let i = 0; i < 1_000; i++) await give(3_000 + i * 7_919 % 4_001);
  const shares = streams.map(({ bytesOut }) => bytesOut);
  const mean = shares.reduce((a, b) => a + b) / shares.length;
  for (const share of shares) {
    assert.ok(Math.abs(share - mean) < 2 * 16_384, `shares: ${shares.join(", ")}`);
  }
  table.end();
  await Promise.all(pumps);
});

Deno.test("StreamTable lets nobody save turns up: who was away comes back as one of many", async () => {
  const { table, give } = createTable();
  const [first, second] = [table.open()!, table.open()!];
  const pumps = [pump(first, 65_536)];
  await settle(give);
  for (let i = 0; i < 200; i++) await give(5_000);
  pumps.push(pump(second, 65_536));
  await settle(give);
  const before = [first.bytesOut, second.bytesOut];
  for (let i = 0; i < 200; i++) await give(5_000);
  const [one, two] = [first.bytesOut - before[0]!, second.bytesOut - before[1]!];
  assert.ok(Math.abs(one - two) < 2 * 16_384, `${one} and ${two} bytes`);
  table.end();
  await Promise.all(pumps);
});

Deno.test("QuicStream.prompt is not what is left of a block of one that sends much, on a slow path", async () => {
  const { table, give } = createTable();
  const stream = table.open()!;
  const pumped = pump(stream, 65_536);
  // Slower than what would make it bulk by itself: 10 KB in 100 ms.
  for (let i = 0; i < 80; i++) {
    await give(1_000);
    await new Promise((resolve) => setTimeout(resolve, 10));
    assert.ok(!stream.prompt, `after ${stream.bytesOut} bytes`);
  }
  assert.ok(stream.bytesOut > 65_536, `${stream.bytesOut} bytes`);
  table.end();
  await pumped;
});

Deno.test("QuicStream.prompt is whoever has had nothing to send for a while", async () => {
  const { table, give } = createTable();
  const stream = table.open()!;
  const pasted = stream.writeAll(new Uint8Array(100_000));
  assert.ok(!stream.prompt);
  await give(200_000);
  await pasted;
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.equal(stream.write(new Uint8Array(100)), 100);
  assert.ok(stream.prompt);
  table.end();
});
