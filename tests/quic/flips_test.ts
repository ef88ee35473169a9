import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  isPathValidated,
  migrate,
  probePath,
  type QuicStream,
  STREAM_END,
} from "../../src/quic/mod.ts";
import { blocks, hashOf } from "../lab/both_ways.ts";
import { createPathsPair, type PathsPair, TestPath } from "./paths_pair.ts";

/** As `tests/lab/flips_test.ts`, whose little sister this is: 60 makes it 100 MiB each way. */
const SECONDS = Number(Deno.env.get("POSTERN_FLIP_S") ?? 3);
const FLIP_MS = 200;
const BYTES = Math.ceil(SECONDS * 100 / 60) * 1024 * 1024;
/** So that it takes its time, in bytes per millisecond. */
const RATE = 100 * 1024 * 1024 / 60_000 * 1.08;

async function fill(stream: QuicStream, way: "up" | "down"): Promise<void> {
  for (const block of blocks(way, BYTES)) if (!await stream.writeAll(block)) return;
  stream.finish();
}

async function drain(stream: QuicStream): Promise<{ bytes: number; hash: string }> {
  const buffer = new Uint8Array(65_536);
  const hash = createHash("sha256");
  for (let bytes = 0;;) {
    const length = stream.read(buffer);
    if (length === STREAM_END) return { bytes, hash: hash.digest("hex") };
    if (length === 0) await stream.readable();
    else {
      hash.update(buffer.subarray(0, length));
      bytes += length;
    }
  }
}

/** Moves to the other path every {@linkcode FLIP_MS}; answers how often so far, and how to end it. */
function flip({ client }: PathsPair, [first, second]: readonly [TestPath, TestPath]) {
  let flips = 0;
  const timer = setInterval(() => {
    const to = client.peer.key === second.server.key ? first : second;
    if (!isPathValidated(client, to.client, to.server)) probePath(client, to.client, to.server);
    else if (migrate(client, to.client, to.server)) flips++;
  }, FLIP_MS);
  return { count: () => flips, stop: () => clearInterval(timer) };
}

Deno.test(`migrate() does lose no byte and bring none twice, ${FLIP_MS} ms apart, with bytes going both ways`, async () => {
  // One is as the direct path, the other as the relayed one. What comes along the one overtakes what is on the other.
  const paths = [
    new TestPath(1, { delayMs: 40, rate: RATE }),
    new TestPath(2, { delayMs: 20, rate: RATE }),
  ] as const;
  const arrived = Promise.withResolvers<{ bytes: number; hash: string }>();
  const pair = await createPathsPair(paths, {
    server: () => ({
      stream: (stream) => {
        void fill(stream, "down");
        void drain(stream).then(arrived.resolve);
      },
    }),
  });
  const flips = flip(pair, paths);
  try {
    const stream = pair.client.openStream()!;
    const begun = performance.now();
    void fill(stream, "up");
    const [down, up] = await Promise.all([drain(stream), arrived.promise]);
    const ms = performance.now() - begun;
    console.log(`${BYTES / 2 ** 20} MiB each way in ${Math.round(ms)} ms, ${flips.count()} flips`);
    assert.deepEqual(up, { bytes: BYTES, hash: hashOf("up", BYTES) });
    assert.deepEqual(down, { bytes: BYTES, hash: hashOf("down", BYTES) });
    assert.ok(flips.count() > 0.8 * ms / FLIP_MS, `${flips.count()} flips in ${ms} ms`);
  } finally {
    flips.stop();
    pair.close();
  }
});
