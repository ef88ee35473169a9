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
  const detour = new Detour(server, (packet) => {
    packets.push(packet.length);
    const before = client.native.stats().recv;
    client.ingest(packet.slice(), path.server, path.client);
    if (client.native.stats().recv > before) around++;
  });
  try {
    await new Promise((resolve) => setTimeout(resolve, 100));
    path.cut.toServer = path.cut.toClient = true;
    detour.start();
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
