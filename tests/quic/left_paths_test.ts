import assert from "node:assert/strict";
import {
  isPathValidated,
  migrate,
  probePath,
  type QuicStream,
  STREAM_END,
  takeDetour,
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
async function moveFromDeadPath(
  direction: "download" | "upload",
  { known = false, both = false, detour = false } = {},
): Promise<{ bytes: number; goneOnMs: number }> {
  const [dead, live] = [new TestPath(1, { delayMs: 10 }), new TestPath(2, { delayMs: 20 })];
  const half = Promise.withResolvers<void>();
  const arrived = Promise.withResolvers<number>();
  let [movedAt, goneOnMs] = [Infinity, Infinity];
  const progress = (bytes: number) => {
    if (bytes >= CUT_AT) half.resolve();
    goneOnMs = Math.min(goneOnMs, Math.max(0, performance.now() - movedAt) || Infinity);
  };
  const pair = await createPathsPair([live, dead], {
    // Less than the queue holds, so that the cut is the only loss.
    settings: { streamWindow: WINDOW, maxStreamWindow: WINDOW },
    server: (server) => ({
      path: ({ type }) =>
        type === "PeerMigrated" && known && movedAt < Infinity && server.leftPathDied(),
      stream: (stream) => {
        if (direction === "download") void fill(stream);
        else void drain(stream, progress).then(arrived.resolve);
      },
    }),
  });
  let timer: ReturnType<typeof setTimeout> | undefined;
  let detours: ReturnType<typeof setInterval> | undefined;
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
    if (both) dead.cut.toClient = dead.cut.toServer = true;
    if (detour) {
      detours = setInterval(() => {
        const packet = takeDetour(pair.server, 1200);
        if (packet) pair.server.egress.transmit(live.server, live.client, packet, packet.length);
      }, 15);
    }
    await new Promise((resolve) => setTimeout(resolve, 300));
    movedAt = performance.now();
    await go(pair, live);
    if (known) pair.client.leftPathDied();
    const late = new Promise<number>((resolve) => {
      timer = setTimeout(() => resolve(-1), PATIENCE_MS);
    });
    const bytes = await Promise.race([arrived.promise, late]);
    return { bytes, goneOnMs };
  } finally {
    clearTimeout(timer);
    clearInterval(detours);
    pair.close();
  }
}

Deno.test("LeftPaths gets a download going that left a dead path", async () => {
  assert.equal((await moveFromDeadPath("download")).bytes, BYTES);
});

Deno.test("LeftPaths gets an upload going that left a dead path", async () => {
  assert.equal((await moveFromDeadPath("upload")).bytes, BYTES + 1);
});

for (const direction of ["download", "upload"] as const) {
  Deno.test(`QuicConnection.leftPathDied() gets a ${direction} going sooner`, async () => {
    const unknown = await moveFromDeadPath(direction);
    const known = await moveFromDeadPath(direction, { known: true });
    assert.deepEqual(
      [unknown.bytes, known.bytes],
      direction === "upload" ? [BYTES + 1, BYTES + 1] : [BYTES, BYTES],
    );
    // A round trip is 40 ms there.
    const { goneOnMs } = known;
    assert.ok(goneOnMs < unknown.goneOnMs - 20, `${goneOnMs} instead of ${unknown.goneOnMs} ms`);
  });
}

Deno.test("takeDetour() gets a download going sooner still", async () => {
  const gains: number[] = [];
  // One run on a busy machine may show anything; that none of three shows a gain must not be.
  while (gains.length < 3 && Math.max(...gains) <= 15) {
    const without = await moveFromDeadPath("download", { known: true, both: true });
    const detour = { known: true, both: true, detour: true };
    const { bytes, goneOnMs } = await moveFromDeadPath("download", detour);
    assert.deepEqual([without.bytes, bytes], [BYTES, BYTES]);
    gains.push(without.goneOnMs - goneOnMs);
  }
  assert.ok(Math.max(...gains) > 15, `gone on only ${gains.join(", ")} ms sooner`);
});
