import assert from "node:assert/strict";
import { addressOf } from "../../src/core/mod.ts";
import type { QuicConnection } from "../../src/quic/mod.ts";
import { RelayDoubt } from "../../src/roles/relay_doubt.ts";

const RELAY = addressOf("192.0.2.1", 4433);
const SAID = { echo: "0102030405060708", from: RELAY };

/** As much of a connection as a doubt needs. */
function connection(rtt = 1): { abandoned: number; real: QuicConnection } {
  const fake = { abandoned: 0, real: undefined as unknown as QuicConnection };
  fake.real = {
    rttMs: () => rtt,
    closed: false,
    peer: RELAY,
    native: { destinationId: () => Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) },
    abandon: () => fake.abandoned++,
  } as never;
  return fake;
}

const wait = () => new Promise((resolve) => setTimeout(resolve, 400));

Deno.test("RelayDoubt.raise() ends a connection on which nothing is heard", async () => {
  const conn = connection();
  const done: string[] = [];
  const doubt = new RelayDoubt({ ask: () => done.push("ask"), silent: () => done.push("silent") });
  doubt.raise(conn.real, SAID);
  doubt.raise(conn.real, SAID);
  await wait();
  assert.deepEqual(done, ["ask", "silent"]);
  assert.equal(conn.abandoned, 1);
});

Deno.test("RelayDoubt.raise() is not put off by what is said while it waits", async () => {
  const conn = connection(300);
  const doubt = new RelayDoubt({ ask: () => {}, silent: () => {} });
  doubt.raise(conn.real, SAID);
  const again = setInterval(() => doubt.raise(conn.real, SAID), 100);
  await new Promise((resolve) => setTimeout(resolve, 1_600));
  clearInterval(again);
  doubt.stop();
  assert.ok(conn.abandoned >= 1);
});

Deno.test("RelayDoubt.raise() waits for no answer to a close that was said meanwhile", async () => {
  const conn = connection();
  const doubt = new RelayDoubt({ ask: () => {}, silent: assert.fail });
  doubt.raise(conn.real, SAID);
  Object.assign(conn.real, { closed: true });
  await wait();
  assert.equal(conn.abandoned, 1);
});

Deno.test("RelayDoubt.raise() is put to rest by any word of the relay", async () => {
  const conn = connection();
  const doubt: RelayDoubt = new RelayDoubt({
    ask: () => setTimeout(() => doubt.heard(), 10),
    silent: assert.fail,
  });
  doubt.raise(conn.real, SAID);
  await wait();
  assert.equal(conn.abandoned, 0);
});

Deno.test("RelayDoubt.raise() hears nobody but the relay, and of no other connection", () => {
  const conn = connection();
  const doubt = new RelayDoubt({ ask: assert.fail, silent: assert.fail });
  doubt.raise(conn.real, { ...SAID, from: addressOf("192.0.2.1", 4434) });
  doubt.raise(conn.real, { ...SAID, echo: "0102030405060709" });
});

Deno.test("RelayDoubt.stop() forgets", async () => {
  const conn = connection();
  const doubt = new RelayDoubt({ ask: () => {}, silent: assert.fail });
  doubt.raise(conn.real, SAID);
  doubt.stop();
  await wait();
  assert.equal(conn.abandoned, 0);
});
