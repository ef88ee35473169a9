import assert from "node:assert/strict";
import {
  isPathValidated,
  migrate,
  probePath,
  type QuicStream,
  STREAM_END,
} from "../../src/quic/mod.ts";
import { createPathsPair, type PathsPair, TestPath } from "./paths_pair.ts";

const BYTES = 3_000_000;
/** Bytes that have arrived when the path in use is cut. */
const CUT_AT = 1_000_000;
const WINDOW = 150_000;
/** Far longer than it takes, far shorter than the engine would. */
const PATIENCE_MS = 10_000;

async function fill(stream: QuicStream): Promise<void> {
  const chunk = new Uint8Array(50_000).fill(7);
  for (let sent = 0; sent < BYTES; sent += chunk.length) {
    if (!await stream.writeAll(chunk)) return;
  }
  stream.finish();
}

/** Reads to the end; `progress` is told how many bytes have come. Answers that number. */
async function drain(stream: QuicStream, progress: (bytes: number) => void): Promise<number> {
  const buffer = new Uint8Array(65_536);
  let bytes = 0;
  for (;;) {
    const length = stream.read(buffer);
    if (length === STREAM_END) return bytes;
    if (length === 0) await stream.readable();
    else progress(bytes += length);
  }
}

async function go({ client }: PathsPair, path: TestPath): Promise<void> {
  // A new path needs a connection id to spare, which comes a moment after the handshake.
  while (
    !isPathValidated(client, path.client, path.server) &&
    !probePath(client, path.client, path.server)
  ) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.ok(migrate(client, path.client, path.server));
}

/** Runs a transfer, cuts the path in use in its midst, and moves to the other one once much was lost. */
async function moveFromDeadPath(direction: "download" | "upload"): Promise<number> {
  const [dead, live] = [new TestPath(1, { delayMs: 10 }), new TestPath(2, { delayMs: 20 })];
  const half = Promise.withResolvers<void>();
  const arrived = Promise.withResolvers<number>();
  const progress = (bytes: number) => bytes >= CUT_AT && half.resolve();
  const pair = await createPathsPair([live, dead], {
    // Less than the queue holds, so that the cut is the only loss.
    settings: { streamWindow: WINDOW, maxStreamWindow: WINDOW },
    server: () => ({
      stream: (stream) => {
        if (direction === "download") void fill(stream);
        else void drain(stream, progress).then(arrived.resolve);
      },
    }),
  });
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    await go(pair, dead);
    await new Promise((resolve) => setTimeout(resolve, 100));
    const stream = pair.client.openStream()!;
    stream.write(new Uint8Array(1));
    if (direction === "download") void drain(stream, progress).then(arrived.resolve);
    else void fill(stream);
    await half.promise;
    // The other direction lives on, so every acknowledgement arrives: nothing on that path is newly acknowledged later.
    dead.cut[direction === "download" ? "toClient" : "toServer"] = true;
    await new Promise((resolve) => setTimeout(resolve, 300));
    await go(pair, live);
    const late = new Promise<number>((resolve) => {
      timer = setTimeout(() => resolve(-1), PATIENCE_MS);
    });
    return await Promise.race([arrived.promise, late]);
  } finally {
    clearTimeout(timer);
    pair.close();
  }
}

Deno.test("LeftPaths gets a download going that left a dead path", async () => {
  assert.equal(await moveFromDeadPath("download"), BYTES);
});

Deno.test("LeftPaths gets an upload going that left a dead path", async () => {
  assert.equal(await moveFromDeadPath("upload"), BYTES + 1);
});
