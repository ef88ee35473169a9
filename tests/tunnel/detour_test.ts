import assert from "node:assert/strict";
import { Detour } from "../../src/tunnel/detour.ts";
import { createPathsPair, TestPath } from "../quic/paths_pair.ts";

async function until(what: () => boolean, text: string): Promise<void> {
  for (const end = performance.now() + 5_000; !what();) {
    assert.ok(performance.now() < end, `not within 5 s: ${text}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

Deno.test("Detour.start() sends packets around that the other end understands, until the path is heard again", async () => {
  const path = new TestPath(1);
  const packets: number[] = [];
  let around = 0;
  const pair = await createPathsPair([path], {
    server: () => ({ datagram: () => {} }),
  });
  await until(() => pair.server.established, "both ends are through with the handshake");
  const { client, server } = pair;
  const detour = new Detour(server, {
    send: (packet) => {
      packets.push(packet.length);
      const before = client.native.stats().recv;
      client.ingest(packet.slice(), path.server, path.client);
      if (client.native.stats().recv > before) around++;
    },
    copy: () => false,
    copyLast: () => {},
  });
  try {
    await new Promise((resolve) => setTimeout(resolve, 100));
    path.cut.toServer = path.cut.toClient = true;
    detour.start(0);
    await until(() => packets.length >= 4, "four packets");
    assert.ok(packets.every((length) => length <= 1200), packets.join());
    assert.ok(around >= 4, `${around} of ${packets.length} were understood`);
    path.cut.toServer = path.cut.toClient = false;
    client.sendDatagram(Uint8Array.of(1));
    const heard = server.packetsIn;
    await until(() => server.packetsIn > heard, "the server hears the client");
    await new Promise((resolve) => setTimeout(resolve, 40));
    const sent = packets.length;
    await new Promise((resolve) => setTimeout(resolve, 60));
    assert.equal(packets.length, sent);
  } finally {
    detour.stop();
    pair.close();
  }
});

Deno.test("Detour.start() copies what has left since the silence began, and its last packet again and again", async () => {
  const path = new TestPath(1);
  const pair = await createPathsPair([path], { server: () => ({}) });
  await until(() => pair.server.established, "both ends are through with the handshake");
  const copied: number[] = [];
  let again = 0;
  const startedAt = performance.now();
  const detour = new Detour(pair.server, {
    send: () => assert.fail("a closed connection has no packets of its own"),
    copy: (since) => copied.push(since) === 1,
    copyLast: (since) => {
      again++;
      assert.ok(Math.abs(since - startedAt + 50) < 20, `since ${since}`);
    },
  });
  try {
    pair.server.close();
    detour.start(50);
    await until(() => again >= 3, "three copies of the last packet");
    assert.equal(again, copied.length - 1);
    assert.ok(Math.abs(copied[0]! - startedAt + 50) < 20, `since ${copied[0]}`);
    // What was copied is not copied again.
    for (const [i, since] of copied.entries()) if (i > 0) assert.ok(since >= startedAt);
  } finally {
    detour.stop();
    pair.close();
  }
});
