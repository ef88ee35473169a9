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

/**
 * Runs a download whose congestion window is full when its path dies, and moves to the other one a while later; from then on the client
 * gets copies there of the small packets that the server has sent into the silence. Answers how long after the move it went on, and how
 * many packets the server sent there before it could know what was lost.
 */
async function moveWithFullWindow(
  { copies }: { copies: boolean },
): Promise<{ goneOnMs: number; early: number }> {
  const [dead, live] = [
    new TestPath(1, { delayMs: 10, rate: 20_000, queue: 1e9 }),
    new TestPath(2, { delayMs: 20 }),
  ];
  const half = Promise.withResolvers<void>();
  const arrived = Promise.withResolvers<void>();
  let [movedAt, goneOnMs, bytesSeen, cutAt, early, followedAt] = [
    Infinity,
    Infinity,
    0,
    Infinity,
    0,
    Infinity,
  ];
  const small: Uint8Array[] = [];
  const pair = await createPathsPair([live, dead], {
    settings: {
      streamWindow: 64e6,
      maxStreamWindow: 64e6,
      connectionWindow: 64e6,
      maxConnectionWindow: 64e6,
    },
    server: (server) => ({
      path: ({ type }) => {
        if (type !== "PeerMigrated" || movedAt === Infinity) return;
        followedAt = performance.now();
        server.leftPathDied();
        for (const packet of small.slice(copies ? -2 : Infinity)) {
          server.egress.transmit(live.server, live.client, packet, packet.length);
        }
      },
      stream: (stream) => void fillFor(stream),
    }),
    change: (datagram, toServer) => {
      const now = performance.now();
      if (!toServer && now > cutAt + 50 && movedAt === Infinity && datagram.length <= 1200) {
        small.push(datagram);
      }
      if (!toServer && now >= followedAt && now - followedAt < 30) early++;
      return datagram;
    },
  });
  const fillFor = async (stream: QuicStream) => {
    const chunk = new Uint8Array(65_536).fill(7);
    while (await stream.writeAll(chunk));
  };
  const progress = (bytes: number) => {
    bytesSeen = bytes;
    if (bytes >= CUT_AT) half.resolve();
    if (movedAt === Infinity) return;
    goneOnMs = Math.min(goneOnMs, performance.now() - movedAt);
    arrived.resolve();
  };
  try {
    await go(pair, dead);
    await new Promise((resolve) => setTimeout(resolve, 100));
    const stream = pair.client.openStream()!;
    stream.write(new Uint8Array(1));
    void drain(stream, progress);
    await half.promise;
    dead.cut.toClient = dead.cut.toServer = true;
    cutAt = performance.now();
    // What is under way arrives; then the engine asks into the silence.
    for (let seen = -1; seen !== bytesSeen || small.length < 1;) {
      seen = bytesSeen;
      await new Promise((resolve) => setTimeout(resolve, 60));
    }
    await new Promise((resolve) => setTimeout(resolve, 60));
    movedAt = performance.now();
    await go(pair, live);
    await arrived.promise;
    return { goneOnMs, early: copies ? 0 : early };
  } finally {
    pair.close();
  }
}

Deno.test("PacketSender.timerFired() makes packets so small that copies of them get a download with a full window going", async () => {
  const { goneOnMs } = await moveWithFullWindow({ copies: true });
  // A round trip until the server knows what is lost, another one until it is here: 40 ms each.
  assert.ok(goneOnMs < 200, `${goneOnMs} ms`);
});

Deno.test("PacketSender.awaitLosses() keeps the window for what was lost", async () => {
  const { early } = await moveWithFullWindow({ copies: false });
  assert.ok(early <= 6, `${early} packets left before the losses were known`);
});
