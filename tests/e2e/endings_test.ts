/**
 * How connections end, through three real processes and a forwarded port: a half-close is a half-close at the other end, in either
 * direction, and a reset is a reset. Nothing is lost before the one, and nobody takes the other for an end.
 * @module
 */
import assert from "node:assert/strict";
import { resetConn } from "../../src/mux/tcp_reset.ts";
import { inScene, isReadyToRun, openAll, serveTcp } from "./harness.ts";

const BYTES = 3_000_000;
const WITHIN_MS = 15_000;

/** Bytes until the end; rejects where the connection is reset. */
async function countToEnd(conn: Deno.TcpConn): Promise<number> {
  const room = new Uint8Array(65_536);
  let count = 0;
  for (let got; (got = await conn.read(room)) !== null;) count += got;
  return count;
}

async function writeAll(conn: Deno.TcpConn, data: Uint8Array): Promise<void> {
  for (let at = 0; at < data.length;) at += await conn.write(data.subarray(at));
}

/** How a connection ended at the service. */
type Ending = { bytes: number } | { error: unknown };

function within<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come`)), WITHIN_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Runs `client` against `service`; answers how the connection ended at the service. */
async function end(
  service: (conn: Deno.TcpConn) => Promise<number>,
  client: (conn: Deno.TcpConn) => Promise<void>,
): Promise<Ending> {
  let ending: Ending | undefined;
  await inScene(async (scene) => {
    const ended = Promise.withResolvers<Ending>();
    const serve = async (conn: Deno.TcpConn) => {
      try {
        ended.resolve({ bytes: await service(conn) });
      } catch (error) {
        ended.resolve({ error });
      }
      try {
        conn.close();
      } catch {
        // Reset.
      }
    };
    const { web } = await openAll(scene, { web: serveTcp(scene, serve) });
    const conn = await Deno.connect({ hostname: "127.0.0.1", port: web! });
    await within(client(conn), "the client's end");
    ending = await within(ended.promise, "the service's end");
    try {
      conn.close();
    } catch {
      // Reset.
    }
  });
  return ending!;
}

Deno.test({
  name: "a client's half-close reaches a service that answers only then, and the answer is whole",
  ignore: !isReadyToRun(),
  async fn() {
    const ending = await end(async (conn) => {
      const count = await countToEnd(conn);
      await writeAll(conn, new Uint8Array(BYTES));
      await conn.closeWrite();
      return count;
    }, async (conn) => {
      await writeAll(conn, new Uint8Array(BYTES));
      await conn.closeWrite();
      assert.equal(await countToEnd(conn), BYTES);
    });
    assert.deepEqual(ending, { bytes: BYTES });
  },
});

Deno.test({
  name: "a service's half-close reaches the client, which goes on sending",
  ignore: !isReadyToRun(),
  async fn() {
    const ending = await end(async (conn) => {
      await writeAll(conn, new Uint8Array(1_000));
      await conn.closeWrite();
      return await countToEnd(conn);
    }, async (conn) => {
      assert.equal(await countToEnd(conn), 1_000);
      // Long after the other direction is over.
      await new Promise((resolve) => setTimeout(resolve, 500));
      await writeAll(conn, new Uint8Array(BYTES));
      await conn.closeWrite();
    });
    assert.deepEqual(ending, { bytes: BYTES });
  },
});

Deno.test({
  name: "a client's reset is a reset at the service, not an end",
  ignore: !isReadyToRun() || Deno.build.os !== "linux",
  async fn() {
    const ending = await end(countToEnd, async (conn) => {
      await writeAll(conn, new Uint8Array(1_000));
      await new Promise((resolve) => setTimeout(resolve, 200));
      resetConn(conn);
    });
    assert.ok("error" in ending, JSON.stringify(ending));
    assert.ok(ending.error instanceof Deno.errors.ConnectionReset, String(ending.error));
  },
});

Deno.test({
  name: "a service's reset is a reset at the client, not an end",
  ignore: !isReadyToRun() || Deno.build.os !== "linux",
  async fn() {
    await end(async (conn) => {
      await writeAll(conn, new Uint8Array(1_000));
      await conn.read(new Uint8Array(1));
      resetConn(conn);
      return 0;
    }, async (conn) => {
      await conn.read(new Uint8Array(1_000));
      await conn.write(new Uint8Array(1));
      await assert.rejects(countToEnd(conn), Deno.errors.ConnectionReset);
    });
  },
});
