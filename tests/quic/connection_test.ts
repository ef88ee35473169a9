import { Buffer } from "node:buffer";
import assert from "node:assert/strict";
import { type QuicStream, STREAM_END } from "../../src/quic/mod.ts";
import { createPair } from "./pair.ts";

async function readAll(stream: QuicStream): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  const buffer = new Uint8Array(65_536);
  for (;;) {
    const length = stream.read(buffer);
    if (length === STREAM_END) break;
    if (length === 0) await stream.readable();
    else parts.push(buffer.slice(0, length));
  }
  return new Uint8Array(Buffer.concat(parts));
}

Deno.test("QuicConnection carries streams both ways and half-closes", async () => {
  const pair = await createPair({
    server: () => ({
      stream: async (stream) => {
        const all = await readAll(stream);
        await stream.writeAll(all);
        stream.finish();
      },
    }),
  });
  await pair.established;
  const payload = new Uint8Array(3_000_000).map((_, i) => i % 251);
  const stream = pair.client.openStream()!;
  assert.ok(await stream.writeAll(payload));
  stream.finish();
  assert.deepEqual(await readAll(stream), payload);
  assert.equal(pair.client.streamCount, 0);
  pair.close();
});

Deno.test("QuicConnection survives loss", async () => {
  let count = 0;
  const pair = await createPair({
    server: () => ({
      stream: async (stream) => {
        await stream.writeAll(await readAll(stream));
        stream.finish();
      },
    }),
    deliver: () => ++count < 20 || count % 13 !== 0,
  });
  await pair.established;
  const payload = new Uint8Array(500_000).map((_, i) => i % 241);
  const stream = pair.client.openStream()!;
  await stream.writeAll(payload);
  stream.finish();
  assert.deepEqual(await readAll(stream), payload);
  pair.close();
});

Deno.test("QuicConnection carries datagrams", async () => {
  const got = Promise.withResolvers<Uint8Array>();
  const pair = await createPair({
    server: (connection) => ({ datagram: (data) => void connection.sendDatagram(data) }),
    client: { datagram: (data) => got.resolve(data) },
  });
  await pair.established;
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.ok(pair.client.sendDatagram(new Uint8Array([1, 2, 3])));
  assert.deepEqual([...await got.promise], [1, 2, 3]);
  assert.equal(pair.client.sendDatagram(new Uint8Array(60_000)), false);
  pair.close();
});

Deno.test("QuicConnection opens 300 streams one after another without losing credit", async () => {
  const pair = await createPair({
    server: () => ({
      stream: async (stream) => {
        await readAll(stream);
        stream.finish();
      },
    }),
  });
  await pair.established;
  for (let i = 0; i < 300; i++) {
    let stream = pair.client.openStream();
    while (!stream) {
      await pair.client.streamCredit();
      stream = pair.client.openStream();
    }
    await stream.writeAll(new Uint8Array(20_000));
    stream.finish();
    assert.equal((await readAll(stream)).length, 0);
  }
  pair.close();
});

Deno.test("QuicEndpoint.sendNow() sends what was written, before anything else is done", async () => {
  const pair = await createPair();
  await pair.established;
  await new Promise((resolve) => setTimeout(resolve, 50));
  const egress = pair.client.egress as { transmit: typeof pair.client.egress.transmit };
  const transmit = egress.transmit;
  let sent = 0;
  egress.transmit = (...words) => {
    sent++;
    return transmit(...words);
  };
  pair.client.openStream()!.write(new Uint8Array(100));
  assert.equal(sent, 0);
  pair.clientEnd.sendNow(pair.client);
  assert.equal(sent, 1);
  pair.close();
});
