import assert from "node:assert/strict";
import fc from "fast-check";
import {
  encodeHttpAnswer,
  type HeadResult,
  HttpHeadReader,
  MAX_HEAD_BYTES,
} from "../../src/ingress/http_connect_codec.ts";
import { decodeUtf8, encodeUtf8 } from "../../src/core/mod.ts";

function read(
  bytes: Uint8Array,
  cuts: number[] = [],
): { result: HeadResult | undefined; rest: string } {
  const reader = new HttpHeadReader();
  let result: HeadResult | undefined;
  let from = 0;
  for (const to of [...cuts, bytes.length].sort((a, b) => a - b)) {
    result = reader.push(bytes.subarray(from, to));
    from = to;
  }
  return { result, rest: decodeUtf8(reader.rest) };
}

function brief(text: string): string {
  const { result } = read(encodeUtf8(text));
  if (!result) return "more";
  if (result.type === "refused") return `${result.status}`;
  if (result.type === "own") return `own ${result.path}${result.withBody ? "" : " head"}`;
  return `${result.type} ${result.target.host} ${result.target.port}`;
}

Deno.test("HttpHeadReader.push() tells requests apart", () => {
  const cases: [head: string, expected: string][] = [
    [
      "CONNECT web.postern:443 HTTP/1.1\r\nHost: web.postern:443\r\n\r\n",
      "connect web.postern 443",
    ],
    ["CONNECT web.postern:443 HTTP/1.0\r\n\r\n", "connect web.postern 443"],
    ["CONNECT web.postern:443 HTTP/1.1\nHost: x\n\n", "connect web.postern 443"],
    ["\r\n\r\nCONNECT web.postern:443 HTTP/1.1\r\n\r\n", "connect web.postern 443"],
    ["CONNECT [2001:db8::1]:443 HTTP/1.1\r\n\r\n", "connect 2001:db8::1 443"],
    ["CONNECT web.postern HTTP/1.1\r\n\r\n", "400"],
    ["CONNECT web.postern:99999 HTTP/1.1\r\n\r\n", "400"],
    ["CONNECT http://web.postern/ HTTP/1.1\r\n\r\n", "400"],
    ["CONNECT  web.postern:443 HTTP/1.1\r\n\r\n", "400"],
    ["CONNECT web.postern:443 HTTP/2.0\r\n\r\n", "400"],
    ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400"],
    ["CONNECT web.postern:443\r\n\r\n", "400"],
    ["CONNECT web.postern:443 HTTP/1.1\r\n folded: x\r\n\r\n", "400"],
    ["CONNECT web.postern:443 HTTP/1.1\r\nno name\r\n\r\n", "400"],
    ["CONNECT web.postern:443 HTTP/1.1\r\nA: \0\r\n\r\n", "400"],
    ["CONNECT web.postern:443 HTTP/1.1\r\nA: b\rc\r\n\r\n", "400"],
    ["CONNECT web.postern:443 HTTP/1.1\r\nA: b\r\n", "more"],
    ["GET /proxy.pac HTTP/1.1\r\nHost: 127.0.0.1:8118\r\n\r\n", "own /proxy.pac"],
    ["HEAD /proxy.pac?x HTTP/1.1\r\n\r\n", "own /proxy.pac head"],
    ["POST /proxy.pac HTTP/1.1\r\n\r\n", "405"],
    ["OPTIONS * HTTP/1.1\r\n\r\n", "405"],
    ["GET * HTTP/1.1\r\n\r\n", "400"],
    ["GET http://web.postern/a HTTP/1.1\r\nHost: web.postern\r\n\r\n", "forward web.postern 80"],
    ["POST http://web.postern:8080 HTTP/1.1\r\n\r\n", "forward web.postern 8080"],
    ["GET HTTP://[::1]/ HTTP/1.1\r\n\r\n", "forward ::1 80"],
    ["GET https://web.postern/ HTTP/1.1\r\n\r\n", "400"],
    ["GET http://user@web.postern/ HTTP/1.1\r\n\r\n", "400"],
    ["GET http:///x HTTP/1.1\r\n\r\n", "400"],
    ["GET ftp://web.postern/ HTTP/1.1\r\n\r\n", "400"],
    ["\x16\x03\x01\r\n\r\n", "400"],
    ["", "more"],
  ];
  for (const [head, expected] of cases) assert.equal(brief(head), expected, JSON.stringify(head));
});

Deno.test("HttpHeadReader.push() rewrites plain HTTP for the service", () => {
  const { result, rest } = read(encodeUtf8(
    "POST http://web.postern:8080?q=1 HTTP/1.1\r\nHost: other\r\nContent-Length: 4\r\n" +
      "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nProxy-Authorization: Basic eA==\r\n" +
      "Proxy-Connection: keep-alive\r\nUser-Agent: test\r\n\r\nbody",
  ));
  assert.ok(result?.type === "forward");
  assert.equal(
    decodeUtf8(result.head),
    "POST /?q=1 HTTP/1.1\r\nHost: web.postern:8080\r\nContent-Length: 4\r\nUser-Agent: test\r\n" +
      "Connection: close\r\n\r\n",
  );
  assert.equal(rest, "body");
});

Deno.test("HttpHeadReader.push() says how the client reached the proxy", () => {
  const hostOf = (line: string) => {
    const { result } = read(encodeUtf8(`GET /proxy.pac HTTP/1.1\r\n${line}\r\n`));
    return result?.type === "own" ? result.host : "?";
  };
  assert.deepEqual(hostOf("Host: localhost:8118\r\n"), { host: "localhost", port: 8118 });
  assert.deepEqual(hostOf("host: [::1]\r\n"), { host: "::1", port: 80 });
  assert.equal(hostOf("Host: a b:1:2\r\n"), undefined);
  assert.equal(hostOf(""), undefined);
});

Deno.test("HttpHeadReader.push() refuses a head above its bound", () => {
  const line = `A: ${"x".repeat(MAX_HEAD_BYTES)}\r\n`;
  assert.equal(brief(`CONNECT web.postern:1 HTTP/1.1\r\n${line}`), "431");
  assert.equal(brief(`CONNECT web.postern:1 HTTP/1.1\r\n${line}\r\n`), "431");
  assert.equal(brief("\r\n".repeat(MAX_HEAD_BYTES)), "431");
  const start = "CONNECT web.postern:1 HTTP/1.1\r\nA: ";
  const fill = MAX_HEAD_BYTES - start.length - 4;
  assert.equal(brief(`${start}${"x".repeat(fill)}\r\n\r\n`), "connect web.postern 1");
  assert.equal(brief(`${start}${"x".repeat(fill + 1)}\r\n\r\n`), "431");
});

Deno.test("HttpHeadReader.push() says the same however the bytes are cut, and takes any bytes", () => {
  const heads = [
    "CONNECT web.postern:443 HTTP/1.1\r\nHost: web.postern:443\r\n\r\n\x16\x03\x01",
    "\r\nGET http://web.postern/ HTTP/1.1\nHost: x\n\r\nrest\r\n\r\n",
    "GET /proxy.pac HTTP/1.1\r\n\r\n",
  ].map(encodeUtf8);
  const bytes = fc.oneof(fc.constantFrom(...heads), fc.uint8Array({ maxLength: 200 }));
  fc.assert(
    fc.property(bytes, fc.array(fc.nat(80)), (head, cuts) => {
      const inside = cuts.filter((cut) => cut < head.length);
      assert.deepEqual(read(Uint8Array.from(head), inside), read(Uint8Array.from(head)));
    }),
    { numRuns: 1_000 },
  );
  const lines = fc.array(
    fc.constantFrom(
      "CONNECT ",
      "GET ",
      "http://",
      "a.postern:1",
      "/",
      " HTTP/1.1",
      "\r\n",
      "\n",
      ":",
      "\0",
      " ",
    ),
    { maxLength: 30 },
  );
  fc.assert(fc.property(lines, (parts) => void read(encodeUtf8(parts.join("")))), {
    numRuns: 2_000,
  });
});

Deno.test("encodeHttpAnswer() writes whole answers", () => {
  assert.equal(decodeUtf8(encodeHttpAnswer(200)), "HTTP/1.1 200 Connection established\r\n\r\n");
  assert.equal(
    decodeUtf8(encodeHttpAnswer(405, "no\n")),
    "HTTP/1.1 405 Method Not Allowed\r\nAllow: CONNECT, GET\r\nContent-Type: text/plain; charset=utf-8\r\n" +
      "Content-Length: 3\r\nCache-Control: no-store\r\nConnection: close\r\n\r\nno\n",
  );
  const headOnly = decodeUtf8(
    encodeHttpAnswer(200, "text", { contentType: "x/y", withBody: false }),
  );
  assert.match(headOnly, /^HTTP\/1\.1 200 OK\r\nContent-Type: x\/y\r\nContent-Length: 4\r\n/);
  assert.ok(headOnly.endsWith("\r\n\r\n"));
});
