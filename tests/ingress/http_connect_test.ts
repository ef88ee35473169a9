import assert from "node:assert/strict";
import { SILENT_LOGGER } from "../../src/core/mod.ts";
import { type HttpProxyOptions, listenHttpProxy } from "../../src/ingress/mod.ts";
import { curl, exchange, FakeOpener, HAS_CURL, readAll, startEcho } from "./fake_opener.ts";

async function withProxy(
  options: Partial<HttpProxyOptions> & Pick<HttpProxyOptions, "open">,
  test: (port: number) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const proxy = listenHttpProxy({
    at: { host: "127.0.0.1", port: 0 },
    log: SILENT_LOGGER,
    signal: stop.signal,
    ...options,
  });
  try {
    await test(proxy.address.port);
  } finally {
    stop.abort();
    await proxy.finished;
  }
}

async function ask(port: number, text: string): Promise<string> {
  return new TextDecoder().decode(await exchange(port, text));
}

Deno.test("listenHttpProxy() carries a tunnel, with what the client sent behind its request", async () => {
  const echo = startEcho();
  await withProxy({ open: new FakeOpener({ web: echo.port }) }, async (port) => {
    assert.equal(
      await ask(port, "CONNECT web.postern:443 HTTP/1.1\r\n\r\nhello"),
      "HTTP/1.1 200 Connection established\r\n\r\nhello",
    );
  });
  await echo.finish();
});

Deno.test("listenHttpProxy() refuses in the protocol's words", async () => {
  const open = new FakeOpener({
    secret: { refusal: "not-granted" },
    late: { refusal: "target-refused", late: true },
    slow: { refusal: "target-timeout" },
  });
  await withProxy({ open }, async (port) => {
    const cases: [request: string, status: number, body: RegExp][] = [
      ["CONNECT example.com:443", 403, /^Cannot open "example.com"/],
      ["CONNECT 127.0.0.1:22", 403, /it is an address/],
      ["GET http://example.com/", 403, /^Cannot open "example.com"/],
      ["CONNECT secret.postern:1", 403, /^Cannot open flow to "secret" in this test\n$/],
      ["CONNECT nobody.postern:1", 502, /^Cannot open flow to "nobody"/],
      ["CONNECT late.postern:1", 502, /^Cannot open flow to "late"/],
      ["CONNECT slow.postern:1", 504, /^Cannot open flow to "slow"/],
      ["DELETE /", 405, /use CONNECT/],
      ["CONNECT web.postern", 400, /HOST:PORT/],
      ["GET /", 404, /proxy.pac/],
      [`GET /${"x".repeat(20_000)}`, 431, /16384/],
    ];
    for (const [request, status, body] of cases) {
      const answer = await ask(port, `${request} HTTP/1.1\r\n\r\n`);
      assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `), request);
      assert.match(answer.slice(answer.indexOf("\r\n\r\n") + 4), body);
    }
    assert.equal(open.aborted, 1);
    assert.deepEqual(
      open.opened,
      ["secret", "nobody", "late", "slow"],
      "nothing else was asked for",
    );
  });
});

Deno.test("listenHttpProxy() serves the PAC file, naming itself as the browser reached it", async () => {
  await withProxy(
    { open: new FakeOpener({}), socks: { host: "127.0.0.1", port: 1080 } },
    async (port) => {
      const reached = await ask(port, "GET /proxy.pac HTTP/1.1\r\nHost: gate.lan:8118\r\n\r\n");
      assert.match(reached, /Content-Type: application\/x-ns-proxy-autoconfig\r\n/);
      assert.ok(reached.includes('return "PROXY gate.lan:8118; SOCKS5 gate.lan:1080";'), reached);
      const bare = await ask(port, 'GET /proxy.pac HTTP/1.1\r\nHost: "+x+":1\r\n\r\n');
      assert.ok(bare.includes(`return "PROXY 127.0.0.1:${port}; SOCKS5 127.0.0.1:1080";`), bare);
      const head = await ask(port, "HEAD /proxy.pac HTTP/1.1\r\n\r\n");
      assert.ok(head.endsWith("\r\n\r\n"));
    },
  );
});

Deno.test("listenHttpProxy() closes on a client that never asks", async () => {
  await withProxy({ open: new FakeOpener({}), requestMs: 50 }, async (port) => {
    const conn = await Deno.connect({ port });
    await conn.write(new TextEncoder().encode("CONNECT web"));
    await readAll(conn);
    conn.close();
  });
});

Deno.test({
  name: "listenHttpProxy() serves curl: tunnel, plain HTTP, upload, refusal",
  ignore: !HAS_CURL,
  fn: async () => {
    const server = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen: () => {} },
      async (request) => {
        const body = await request.text();
        return new Response(
          `${request.headers.get("host")} ${new URL(request.url).pathname} ${body.length}`,
        );
      },
    );
    await withProxy({ open: new FakeOpener({ web: server.addr.port }) }, async (port) => {
      const proxy = ["--proxy", `http://127.0.0.1:${port}`];
      assert.deepEqual(await curl(...proxy, "--proxytunnel", "http://web.postern/a"), {
        code: 0,
        stdout: "web.postern /a 0",
      });
      // Two requests: the second needs a second connection, as the proxy closes after the first.
      assert.deepEqual(await curl(...proxy, "http://web.postern/b", "http://web.postern:81/c"), {
        code: 0,
        stdout: "web.postern /b 0web.postern:81 /c 0",
      });
      const upload = await curl(...proxy, "--data", "x".repeat(100_000), "http://web.postern/d");
      assert.equal(upload?.stdout, "web.postern /d 100000");
      assert.equal((await curl(...proxy, "--proxytunnel", "http://example.com/"))?.code, 56);
      const refused = await curl(...proxy, "--write-out", "%{http_code}", "http://example.com/");
      assert.ok(refused?.stdout.endsWith("403"));
    });
    await server.shutdown();
  },
});
