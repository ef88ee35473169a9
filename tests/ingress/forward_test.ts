import assert from "node:assert/strict";
import { createLogger, SILENT_LOGGER, UserError } from "../../src/core/mod.ts";
import { listenForward } from "../../src/ingress/mod.ts";
import { exchange, FakeOpener, readAll, startEcho } from "./fake_opener.ts";

const AT = { host: "127.0.0.1", port: 0 };

Deno.test("listenForward() carries bytes both ways and half-close", async () => {
  const echo = startEcho();
  const stop = new AbortController();
  const forward = listenForward({
    service: "web",
    at: AT,
    open: new FakeOpener({ web: echo.port }),
    log: SILENT_LOGGER,
    signal: stop.signal,
  });
  const text = "x".repeat(300_000);
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, i) => exchange(forward.address.port, `${i}${text}`)),
  );
  for (const [i, answer] of answers.entries()) {
    assert.equal(new TextDecoder().decode(answer), `${i}${text}`);
  }
  stop.abort();
  await forward.finished;
  assert.equal(forward.connections, 0);
  await echo.finish();
});

Deno.test("listenForward() ends refused connections and says why", async () => {
  const lines: unknown[] = [];
  const stop = new AbortController();
  for (const late of [false, true]) {
    const forward = listenForward({
      service: "ssh",
      at: AT,
      open: new FakeOpener({ ssh: { refusal: "not-granted", late } }),
      log: createLogger((level, message, fields) => lines.push([level, message, fields["reason"]])),
      signal: stop.signal,
    });
    const conn = await Deno.connect({ port: forward.address.port });
    assert.ok((await readAll(conn)).length <= "<reset>".length);
    conn.close();
    forward.close();
    await forward.finished;
  }
  const expected = ["warn", "cannot open flow", 'Cannot open flow to "ssh" in this test'];
  assert.deepEqual(lines, [expected, expected]);
});

Deno.test("listenForward() names the flag where the port is in use", () => {
  const taken = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const { port } = taken.addr as Deno.NetAddr;
  const listen = (host: string, port: number) =>
    listenForward({
      service: "web",
      at: { host, port },
      open: new FakeOpener({}),
      log: SILENT_LOGGER,
      signal: AbortSignal.abort(),
    });
  assert.throws(() => listen("127.0.0.1", port), (error) => {
    assert.ok(error instanceof UserError);
    assert.equal(
      error.message,
      `Cannot listen on 127.0.0.1:${port} for "web" as the port is in use`,
    );
    assert.equal(
      error.next,
      "Stop the program that uses it, or choose another port with web=HOST:PORT",
    );
    return true;
  });
  assert.throws(() => listen("192.0.2.1", 0), UserError);
  taken.close();
});

Deno.test("listenForward() leaves connections above its bound in the backlog", async () => {
  const echo = startEcho();
  const stop = new AbortController();
  const open = new FakeOpener({ web: echo.port });
  const forward = listenForward({
    service: "web",
    at: AT,
    open,
    log: SILENT_LOGGER,
    signal: stop.signal,
    maxConnections: 2,
  });
  const buffer = new Uint8Array(1);
  const talk = async (conn: Deno.TcpConn) => {
    await conn.write(Uint8Array.of(7));
    assert.equal(await conn.read(buffer), 1);
  };
  const { port } = forward.address;
  const [first, second] = [await Deno.connect({ port }), await Deno.connect({ port })];
  await talk(first);
  await talk(second);
  const third = await Deno.connect({ port });
  const served = talk(third);
  // Nothing more can be seen from outside than that the third was not opened while both are served.
  await talk(first);
  assert.equal(open.opened.length, 2);
  first.close();
  await served;
  assert.equal(open.opened.length, 3);
  second.close();
  third.close();
  stop.abort();
  await forward.finished;
  await echo.finish();
});

Deno.test("listenForward() stops accepting and lets live connections end", async () => {
  const echo = startEcho();
  const stop = new AbortController();
  const forward = listenForward({
    service: "web",
    at: AT,
    open: new FakeOpener({ web: echo.port }),
    log: SILENT_LOGGER,
    signal: stop.signal,
  });
  const conn = await Deno.connect({ port: forward.address.port });
  const buffer = new Uint8Array(4);
  await conn.write(Uint8Array.of(1));
  await conn.read(buffer);
  stop.abort();
  await assert.rejects(Deno.connect({ port: forward.address.port }));
  await conn.write(Uint8Array.of(2));
  assert.equal(await conn.read(buffer), 1);
  assert.equal(forward.connections, 1);
  conn.close();
  await forward.finished;
  await echo.finish();
});

const LINUX = Deno.build.os === "linux";
if (!LINUX) console.log("The test of running out of descriptors is left out as it needs ulimit");

Deno.test({
  name: "listenForward() survives running out of descriptors",
  ignore: !LINUX,
  fn: async () => {
    const child = new Deno.Command("sh", {
      args: ["-c", 'ulimit -n 64; exec "$@"', "sh", Deno.execPath(), "run", "-A", "--no-check"]
        .concat(new URL("few_descriptors.ts", import.meta.url).pathname),
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    try {
      const port = Number((await lines.read()).value);
      assert.ok(port > 0, "the child could not start");
      const conns = await Promise.all(
        Array.from({ length: 80 }, () => Deno.connect({ port, hostname: "127.0.0.1" })),
      );
      assert.match((await lines.read()).value ?? "", /^cannot accept a local connection\n/);
      for (const conn of conns) conn.close();
      const echoed = await exchange(port, "still here");
      assert.equal(new TextDecoder().decode(echoed), "still here");
    } finally {
      child.kill("SIGKILL");
      await child.status;
      await lines.cancel();
    }
  },
});
