import assert from "node:assert/strict";
import { FlowRefused, Mux, resetConn } from "../../src/mux/mod.ts";
import { createPair } from "../quic/pair.ts";

const dial = (port: number) => Deno.connect({ hostname: "127.0.0.1", port });

/**
 * Agent's mux and connector's mux over a real QUIC connection; aborts are handed over directly. `told`: both are told when the
 * connection is over.
 */
async function createMuxes(
  serve: (conn: Deno.TcpConn) => Promise<void>,
  { told = true } = {},
) {
  const target = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const front = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const served: Promise<void>[] = [];
  (async () => {
    for await (const conn of target) served.push(serve(conn).catch(() => {}));
  })();
  let connectorMux: Mux | undefined;
  const cell: { agent?: Mux } = {};
  const pair = await createPair({
    server: (connection) => {
      connectorMux = new Mux(connection, {
        peer: "alice",
        sendAbort: (id) => cell.agent?.peerAborted(id),
        accept: (request) => {
          if (request.service !== "web") {
            throw new FlowRefused("not-granted", `Cannot open flow to "${request.service}"`);
          }
          return dial((target.addr as Deno.NetAddr).port);
        },
      });
      return {
        stream: (stream) => void connectorMux!.accept(stream),
        closed: () => told && connectorMux!.abortFlows(() => true),
      };
    },
    client: { closed: () => told && cell.agent?.abortFlows(() => true) },
  });
  await pair.established;
  const agentMux = cell.agent = new Mux(pair.client, {
    peer: "home",
    sendAbort: (id) => connectorMux?.peerAborted(id),
  });
  const port = (front.addr as Deno.NetAddr).port;
  const connect = async (service: string) => {
    const [near, far] = await Promise.all([dial(port), front.accept()]);
    const flow = await agentMux.openTcp(service, "test");
    return { near, done: flow.pipe(far) };
  };
  return {
    agentMux,
    connect,
    connectorMux: () => connectorMux!,
    /** As after a time-out: the other end hears nothing. */
    abandon: () => pair.client.abandon(),
    closeTunnel: (who: "agent" | "connector") =>
      void (who === "agent" ? Promise.resolve(pair.client) : pair.server)
        .then((connection) => connection.close(0, "stopping")),
    async close() {
      pair.close();
      target.close();
      front.close();
      await Promise.all(served);
    },
  };
}

async function readAll(conn: Deno.TcpConn): Promise<number> {
  const buffer = new Uint8Array(65_536);
  let sum = 0;
  for (let n = await conn.read(buffer); n !== null; n = await conn.read(buffer)) sum += n;
  return sum;
}

async function settled(condition: () => boolean) {
  for (let i = 0; i < 400 && !condition(); i++) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.ok(condition());
}

Deno.test("Mux.openTcp() carries a service that answers only after the client's end", async () => {
  const muxes = await createMuxes(async (conn) => {
    const sum = await readAll(conn);
    await conn.write(new TextEncoder().encode(String(sum)));
    conn.close();
  });
  const { near, done } = await muxes.connect("web");
  const block = new Uint8Array(100_000);
  for (let i = 0; i < 20; i++) {
    for (let at = 0; at < block.length;) at += await near.write(block.subarray(at));
  }
  await near.closeWrite();
  const buffer = new Uint8Array(100);
  const length = await near.read(buffer);
  assert.equal(new TextDecoder().decode(buffer.subarray(0, length!)), "2000000");
  assert.equal(await near.read(buffer), null);
  await done;
  near.close();
  assert.equal(muxes.agentMux.flows.size, 0);
  await settled(() => muxes.connectorMux().flows.size === 0);
  await muxes.close();
});

Deno.test("Mux.openTcp() resets the connection where the other end refuses", async () => {
  const muxes = await createMuxes((conn) => Promise.resolve(conn.close()));
  const { near, done } = await muxes.connect("ssh");
  await assert.rejects(done, (error: Error) => {
    assert.ok(error instanceof FlowRefused);
    assert.equal(error.refusal, "not-granted");
    return true;
  });
  await assert.rejects(near.read(new Uint8Array(1)), Deno.errors.ConnectionReset);
  near.close();
  await muxes.close();
});

Deno.test("Mux carries a service's reset to the client as a reset", async () => {
  const muxes = await createMuxes(async (conn) => {
    await new Promise((resolve) => setTimeout(resolve, 50));
    resetConn(conn);
  });
  const { near, done } = await muxes.connect("web");
  await near.write(new Uint8Array(1000));
  await assert.rejects(readAll(near), Deno.errors.ConnectionReset);
  near.close();
  await done;
  await settled(() => muxes.connectorMux().flows.size === 0);
  await muxes.close();
});

Deno.test("Mux carries a client's reset to the service", async () => {
  const seen = Promise.withResolvers<unknown>();
  const muxes = await createMuxes(async (conn) => {
    await conn.write(new Uint8Array(1000));
    await readAll(conn).catch((error) => seen.resolve(error));
    seen.resolve("end");
    conn.close();
  });
  const { near, done } = await muxes.connect("web");
  await new Promise((resolve) => setTimeout(resolve, 100));
  resetConn(near);
  await done;
  assert.ok(await seen.promise instanceof Deno.errors.ConnectionReset);
  await settled(() => muxes.connectorMux().flows.size === 0);
  await muxes.close();
});

Deno.test("Mux stops reading from a client whose service does not read", async () => {
  const release = Promise.withResolvers<void>();
  let got = 0;
  const muxes = await createMuxes(async (conn) => {
    await release.promise;
    got += await readAll(conn);
    conn.close();
  });
  const { near, done } = await muxes.connect("web");
  let written = 0;
  const writer = (async () => {
    const block = new Uint8Array(65_536);
    while (written < 64 << 20) written += await near.write(block);
    await near.closeWrite();
  })();
  await new Promise((resolve) => setTimeout(resolve, 1500));
  const stalledAt = written;
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.equal(written, stalledAt);
  assert.ok(stalledAt < 32 << 20, `took ${stalledAt} bytes for a service that reads nothing`);
  const stalledBy = (mux: Mux) => [...mux.flows.values()].map((flow) => flow.stalledBy);
  assert.deepEqual(stalledBy(muxes.connectorMux()), ["application"], "the service holds it up");
  assert.deepEqual(stalledBy(muxes.agentMux), ["tunnel"]);
  // One that nobody says anything on is idle, and not held up.
  const idle = await muxes.connect("web");
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.deepEqual(stalledBy(muxes.agentMux), ["tunnel", null]);
  idle.near.close();
  release.resolve();
  await writer;
  assert.equal(await readAll(near), 0);
  await done;
  assert.equal(got, written);
  near.close();
  await idle.done;
  await muxes.close();
});

Deno.test("Mux resets a connection that only listens when its tunnel dies", async () => {
  const block = new Uint8Array(65_536);
  const muxes = await createMuxes(async (conn) => {
    await conn.write(block);
    await readAll(conn);
    conn.close();
  }, { told: false });
  const { near, done } = await muxes.connect("web");
  let got = 0;
  while (got < block.length) got += await near.read(new Uint8Array(65_536)) ?? 0;
  muxes.abandon();
  await assert.rejects(near.read(new Uint8Array(1)), Deno.errors.ConnectionReset);
  near.close();
  await done.catch(() => {});
  assert.equal(muxes.agentMux.flows.size, 0);
  muxes.connectorMux().abortFlows(() => true);
  await muxes.close();
});

for (const [who, direction] of [["agent", "up"], ["connector", "down"]] as const) {
  Deno.test(`Mux resets a connection ${direction} whose tunnel the ${who} closes in mid-transfer, and never ends it`, async () => {
    const heard = Promise.withResolvers<string>();
    const receive = (conn: Deno.TcpConn) =>
      readAll(conn).then(() => "an end", (error) => error.name).then((how) => {
        heard.resolve(how);
        conn.close();
      });
    const flood = async (conn: Deno.TcpConn) => {
      const block = new Uint8Array(65_536);
      try {
        for (;;) await conn.write(block);
      } catch {
        conn.close();
      }
    };
    const muxes = await createMuxes(direction === "up" ? receive : flood);
    const { near, done } = await muxes.connect("web");
    const client = direction === "up" ? flood(near) : receive(near);
    const end = () => who === "agent" ? muxes.agentMux : muxes.connectorMux();
    await settled(() => end().bytesOut > 1_000_000);
    muxes.closeTunnel(who);
    assert.equal(await heard.promise, "ConnectionReset");
    await done.catch(() => {});
    await client;
    await muxes.close();
  });
}
