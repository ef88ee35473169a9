import { deepEqual, equal, ok } from "node:assert/strict";
import fc from "fast-check";
import { decodeUtf8, encodeUtf8 } from "../../src/core/mod.ts";
import { encodeHttpMessage, HttpMessageReader } from "../../src/identity/http_message.ts";

function read(bytes: Uint8Array, cuts: number[] = []) {
  const reader = new HttpMessageReader({ maxBodyBytes: 1000 });
  let at = 0;
  for (
    const cut of [
      ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b),
      bytes.length,
    ]
  ) {
    const result = reader.push(bytes.subarray(at, cut));
    at = cut;
    if (result !== undefined) return result;
  }
  return undefined;
}

Deno.test("HttpMessageReader reads encodeHttpMessage() back, however it is cut", () => {
  fc.assert(fc.property(fc.jsonValue({ maxDepth: 1 }), fc.array(fc.nat()), (json, cuts) => {
    const message = read(encodeHttpMessage("POST /x HTTP/1.1", json, { host: "a:1" }), cuts);
    fc.pre(message !== "body-too-large");
    ok(typeof message === "object", String(message));
    equal(message.startLine, "POST /x HTTP/1.1");
    deepEqual(JSON.parse(decodeUtf8(message.body)), JSON.parse(JSON.stringify(json)));
  }));
});

Deno.test("HttpMessageReader gives a message, a refusal, or waits, for any bytes", () => {
  const line = fc.constantFrom(
    "POST / HTTP/1.1",
    "Content-Length: 5",
    "Content-Length: -1",
    "a",
    ":",
    "",
  );
  const texts = fc.array(line).map((lines) => encodeUtf8(lines.join("\r\n") + "\r\n\r\nhello"));
  fc.assert(fc.property(fc.oneof(fc.uint8Array(), texts), fc.array(fc.nat()), (bytes, cuts) => {
    const whole = read(bytes);
    ok(["string", "object", "undefined"].includes(typeof whole));
    deepEqual(read(bytes, cuts), whole);
  }));
});

Deno.test("HttpMessageReader refuses what is too large before it has come", () => {
  const reader = () => new HttpMessageReader({ maxBodyBytes: 10 });
  equal(
    reader().push(encodeUtf8("GET / HTTP/1.1\r\nContent-Length: 11\r\n\r\n")),
    "body-too-large",
  );
  equal(reader().push(new Uint8Array(8200).fill(65)), "head-too-large");
  equal(reader().push(encodeUtf8("GET / HTTP/1.1\r\n\r\n")), "length-required");
});
