import assert from "node:assert/strict";
import { concatBytes, encodeUtf8, fromHex, SILENT_LOGGER, toHex } from "../../src/core/mod.ts";
import { listenSocks5, type Socks5Options } from "../../src/ingress/mod.ts";
import { decodeSocks5Datagram, encodeSocks5Datagram } from "../../src/ingress/socks5_codec.ts";
import {
  curl,
  exchange,
  FakeOpener,
  FakeUdpOpener,
  HAS_CURL,
  readAll,
  startEcho,
} from "./fake_opener.ts";

/** Runs a test with a proxy. */
async function withProxy(
  options: Partial<Socks5Options> & Pick<Socks5Options, "open">,
  test: (port: number) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const proxy = listenSocks5({
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

function request(host: string, command = 1): Uint8Array {
  return concatBytes(
    Uint8Array.of(5, 1, 0, 5, command, 0, 3, host.length),
    encodeUtf8(host),
    Uint8Array.of(0, 80),
  );
}

Deno.test("listenSocks5() carries a flow, with what the client sent behind its request", async () => {
  const echo = startEcho();
  const open = new FakeOpener({ web: echo.port });
  await withProxy({ open }, async (port) => {
    const answer = await exchange(port, concatBytes(request("Web.Postern."), encodeUtf8("hello")));
    assert.equal(toHex(answer), `050005000001000000000000${toHex(encodeUtf8("hello"))}`);
  });
  await echo.finish();
});

Deno.test("listenSocks5() refuses in the protocol's words", async () => {
  const open = new FakeOpener({
    secret: { refusal: "not-granted" },
    late: { refusal: "target-refused", late: true },
    slow: { refusal: "target-timeout" },
    full: { refusal: "too-many" },
  });
  await withProxy({ open }, async (port) => {
    const cases: [send: Uint8Array, reply: string][] = [
      [request("example.com"), "02"],
      [request("127.0.0.1"), "02"],
      [request("secret.postern"), "02"],
      [request("nobody.postern"), "04"],
      [request("late.postern"), "05"],
      [request("slow.postern"), "06"],
      [request("full.postern"), "01"],
      [request("web.postern", 2), "07"],
      [request("web.postern", 3), "07"],
    ];
    for (const [send, reply] of cases) {
      assert.equal(toHex(await exchange(port, send)), `050005${reply}0001000000000000`);
    }
    assert.equal(open.aborted, 1, "a flow that was refused late is let go");
    assert.deepEqual(
      open.opened,
      ["secret", "nobody", "late", "slow", "full"],
      "nothing else was asked for",
    );
    assert.equal(toHex(await exchange(port, "GET / HTTP/1.1\r\n\r\n")), "");
  });
});

Deno.test("listenSocks5() closes on a client that never asks", async () => {
  await withProxy({ open: new FakeOpener({}), requestMs: 50 }, async (port) => {
    const conn = await Deno.connect({ port });
    await conn.write(Uint8Array.of(5));
    await readAll(conn);
    conn.close();
  });
});

Deno.test("listenSocks5() associates UDP for its client", async () => {
  const open = new FakeUdpOpener({});
  await withProxy({ open }, async (port) => {
    const conn = await Deno.connect({ port });
    await conn.write(fromHex("05010005030001000000000000")!);
    const reply = new Uint8Array(12);
    for (let have = 0; have < 12;) have += (await conn.read(reply.subarray(have)))!;
    assert.equal(toHex(reply.subarray(0, 10)), "0500050000017f000001");
    const relay = {
      transport: "udp",
      hostname: "127.0.0.1",
      port: reply[10]! << 8 | reply[11]!,
    } as const;
    const socket = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
    const target = { host: "dns.postern", port: 53 };
    const send = (to: typeof target, text: string) =>
      socket.send(encodeSocks5Datagram({ target: to, payload: encodeUtf8(text) }), relay);
    const receive = async () => {
      const decoded = decodeSocks5Datagram((await socket.receive())[0]);
      assert.ok("ok" in decoded);
      return { ...decoded.ok.target, text: new TextDecoder().decode(decoded.ok.payload) };
    };
    await socket.send(Uint8Array.of(0, 0, 1, 1), relay);
    await send({ host: "example.com", port: 53 }, "leak");
    await send({ host: "nobody.postern", port: 53 }, "lost");
    await send(target, "first");
    assert.deepEqual(await receive(), { ...target, text: "FIRST" });
    await send(target, "second");
    assert.deepEqual(await receive(), { ...target, text: "SECOND" });
    // A stranger on the same machine, from another port, gets nothing and sends nothing.
    const stranger = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
    await stranger.send(encodeSocks5Datagram({ target, payload: encodeUtf8("stranger") }), relay);
    await send(target, "third");
    assert.deepEqual(await receive(), { ...target, text: "THIRD" });
    stranger.close();
    assert.deepEqual(open.opened, ["nobody", "dns"]);
    conn.close();
    socket.close();
  });
  assert.equal(open.closed, 1);
});

Deno.test({
  name: "listenSocks5() serves curl, with and without a password",
  ignore: !HAS_CURL,
  fn: async () => {
    const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, (request) => {
      return new Response(`${request.headers.get("host")} ${new URL(request.url).pathname}`);
    });
    const open = new FakeOpener({ web: server.addr.port });
    await withProxy({ open }, async (port) => {
      const proxy = `socks5h://127.0.0.1:${port}`;
      assert.deepEqual(await curl("--proxy", proxy, "http://web.postern/page"), {
        code: 0,
        stdout: "web.postern /page",
      });
      assert.equal((await curl("--proxy", proxy, "http://example.com/"))?.code, 97);
      assert.equal((await curl("--proxy", proxy, "http://192.0.2.1/"))?.code, 97);
    });
    await withProxy({ open, credentials: { username: "u", password: "p" } }, async (port) => {
      const ask = (user: string) =>
        curl("--proxy", `socks5h://${user}127.0.0.1:${port}`, "http://web.postern/");
      assert.equal((await ask("u:p@"))?.stdout, "web.postern /");
      assert.equal((await ask("u:x@"))?.code, 97);
      assert.equal((await ask(""))?.code, 97);
    });
    await server.shutdown();
  },
});
