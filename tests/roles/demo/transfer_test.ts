import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { exchange } from "../../../src/roles/demo/http_exchange.ts";
import { download, upload } from "../../../src/roles/demo/transfer.ts";
import { LargeBody, WebService } from "../../../src/roles/demo/web_service.ts";

/** Not a multiple of the pieces that it is made of. */
const SIZE = 3 * 2 ** 20 + 12_345;

function countingProgress() {
  const seen: number[] = [];
  return { seen, update: (done: number) => void seen.push(done), finish: () => {} };
}

Deno.test("download() and upload() carry a body and check its hash", async () => {
  const body = new LargeBody(SIZE);
  const sha256 = await body.sha256();
  const whole = createHash("sha256");
  for (const chunk of body.chunks()) whole.update(chunk);
  assert.equal(sha256, whole.digest("hex"));
  await using service = new WebService(body);
  for (const carry of [download, upload]) {
    const progress = countingProgress();
    const rate = await carry({ port: service.port, body, sha256, progress });
    assert(rate > 0);
    assert.equal(progress.seen.at(-1), SIZE);
    assert.deepEqual(progress.seen, progress.seen.toSorted((a, b) => a - b));
  }
});

Deno.test("download() and upload() refuse what is not what was meant", async () => {
  const body = new LargeBody(SIZE);
  const sha256 = await body.sha256();
  await using service = new WebService(new LargeBody(SIZE));
  const wanted = { port: service.port, body, sha256, progress: countingProgress() };
  await assert.rejects(download(wanted), /the download arrived with SHA-256 [0-9a-f]{64} instead/);
  const wrong = { ...wanted, sha256: "0".repeat(64) };
  await assert.rejects(upload(wrong), /the upload arrived with SHA-256 [0-9a-f]{64} instead of 0/);
});

/** Answers each connection with these bytes and hangs up. */
function answering(text: string): { port: number; close(): Promise<void> } {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const run = async () => {
    for await (const conn of listener) {
      await conn.read(new Uint8Array(1024));
      await conn.write(new TextEncoder().encode(text));
      conn.close();
    }
  };
  const running = run();
  return {
    port: listener.addr.port,
    async close() {
      listener.close();
      await running;
    },
  };
}

Deno.test("exchange() does say what is wrong with an answer", async () => {
  const cases: [answer: string, why: RegExp][] = [
    ["", /closed before an answer came/],
    ["HTTP/1.1 200 OK\r\nContent-Le", /closed before an answer came/],
    ["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", /closed 7 bytes before the answer's end/],
    ["x".repeat(20_000), /no HTTP answer/],
  ];
  for (const [answer, why] of cases) {
    const server = answering(answer);
    await assert.rejects(exchange({ port: server.port, path: "/" }), why);
    await server.close();
  }
});

Deno.test("exchange() does take a body with and without a length", async () => {
  for (const head of ["Content-Length: 3\r\n", ""]) {
    const server = answering(`HTTP/1.1 404 Not Found\r\n${head}\r\nabc`);
    const { status, body, firstByteMs } = await exchange({ port: server.port, path: "/" });
    assert.deepEqual({ status, body }, { status: 404, body: "abc" });
    assert(firstByteMs >= 0);
    await server.close();
  }
});
