import assert from "node:assert/strict";
import { type CloseReason, migrate, probePath, STREAM_END } from "../../src/quic/mod.ts";
import type { QuicConnection, QuicStream } from "../../src/quic/mod.ts";
import { createPathsPair, type PathsPair, TestPath } from "./paths_pair.ts";

const BYTES = 2_000_000;
const WINDOW = 150_000;

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function fill(stream: QuicStream): Promise<void> {
  const chunk = new Uint8Array(50_000);
  for (let sent = 0; sent < BYTES; sent += chunk.length) {
    if (!await stream.writeAll(chunk)) return;
  }
  stream.finish();
}

async function drain(stream: QuicStream): Promise<number> {
  const buffer = new Uint8Array(65_536);
  for (let bytes = 0;;) {
    const length = stream.read(buffer);
    if (length === STREAM_END) return bytes;
    if (length === 0) await stream.readable();
    else bytes += length;
  }
}

async function goFirst({ client }: PathsPair, path: TestPath, validated: Promise<unknown>) {
  while (!probePath(client, path.client, path.server)) await sleep(5);
  await validated;
  assert.ok(migrate(client, path.client, path.server));
}

Deno.test("FailedPaths lets a client come back on a path that the server's engine has given up", async () => {
  const [one, two] = [new TestPath(1, { delayMs: 10 }), new TestPath(2, { delayMs: 20 })];
  const validated = Promise.withResolvers<void>();
  const given = Promise.withResolvers<void>();
  const back = Promise.withResolvers<void>();
  const closed: CloseReason[] = [];
  let returning = false;
  const pair = await createPathsPair([two, one], {
    settings: { streamWindow: WINDOW, maxStreamWindow: WINDOW },
    client: { path: ({ type }) => type === "Validated" && validated.resolve() },
    server: (server: QuicConnection) => ({
      path: ({ type }) => {
        if (type === "FailedValidation") given.resolve();
        if (type === "PeerMigrated" && returning) {
          back.resolve();
          // Whoever asks gets the path as it is, and not the engine's new name for it.
          assert.equal(server.local.key, one.server.key);
        }
      },
      closed: (reason) => closed.push(reason),
      stream: (stream) => void fill(stream),
    }),
  });
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    await goFirst(pair, one, validated.promise);
    const stream = pair.client.openStream()!;
    stream.write(new Uint8Array(1));
    const got = drain(stream);
    await sleep(150);
    // Much of it is under way on the first path, and the challenge that would find it lost on the other.
    one.cut.toClient = one.cut.toServer = true;
    await sleep(50);
    assert.ok(migrate(pair.client, two.client, two.server));
    await sleep(45);
    two.cut.toClient = true;
    await given.promise;
    one.cut.toClient = one.cut.toServer = two.cut.toClient = false;
    // The client has not been told of anything: it sends from there as if nothing had been.
    returning = true;
    assert.ok(migrate(pair.client, one.client, one.server));
    const late = new Promise<number>((resolve) => {
      timer = setTimeout(() => resolve(-1), 10_000);
    });
    const bytes = await Promise.race([got, late]);
    assert.deepEqual(closed, []);
    assert.equal(bytes, BYTES);
    await back.promise;
  } finally {
    clearTimeout(timer);
    pair.close();
  }
});
