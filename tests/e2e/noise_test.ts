/**
 * Noise at every socket of every role, from a stranger's address, while traffic flows: what was captured before, whole,
 * cut and changed, and handshakes that are begun by the hundred and never finished. Nobody notices but the counters.
 * @module
 */
import assert from "node:assert/strict";
import { addressOf } from "../../src/core/mod.ts";
import { QuicEndpoint } from "../../src/quic/mod.ts";
import type { ClientStatus, RelayStatus } from "../../src/roles/status.ts";
import { createTestNetwork } from "../helpers/test_network.ts";
import { clientConfig } from "./raw_client.ts";
import { freePort } from "./scene.ts";
import { exchange, Stage, writeAll } from "./stage.ts";
import { WireTap } from "./wire_tap.ts";

/** First packets of connections that nobody will go on with: real ones, of a client of another network. */
async function firstPackets(count: number): Promise<Uint8Array[]> {
  const network = await createTestNetwork();
  const { certPem, keyPem } = await network.agent("alice");
  const config = clientConfig({ caPem: network.caPem, certPem, keyPem });
  const endpoint = new QuicEndpoint();
  const packets: Uint8Array[] = [];
  for (let i = 0; i < count; i++) {
    const connection = endpoint.connect({
      config,
      egress: {
        packetSize: () => 1200,
        prefix: () => new Uint8Array(0),
        transmit: (_local, _peer, data) => {
          packets.push(data.slice());
          return data.length;
        },
        writable: () => Promise.resolve(),
      },
      local: addressOf("127.0.0.1", 1),
      peer: addressOf("127.0.0.1", 2),
      serverName: "nobody",
      handler: {},
    });
    await new Promise((resolve) => setTimeout(resolve, 0));
    connection.abandon();
  }
  return packets;
}

Deno.test("noise from strangers, replays and half-open handshakes change nothing for anybody", async () => {
  await using stage = new Stage();
  const tap = new WireTap(stage, freePort());
  const relay = await stage.relay({ public: [{ host: "127.0.0.1", port: tap.port }] }).ready();
  const { home, alice, local } = await stage.join();
  const portOf = (text: string | null) => Number(/:(\d+)$/.exec(text ?? "")![1]);
  const ports = [stage.port];
  for (const role of [home, alice]) {
    const { sockets } = await role.status() as ClientStatus;
    ports.push(portOf(sockets.relay.local), portOf(sockets.p2p.local));
  }

  const stranger = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
  stage.atEnd(() => stranger.close());
  const to = (port: number) => ({ transport: "udp", hostname: "127.0.0.1", port }) as const;
  const halfOpen = await firstPackets(300);
  let over = false;
  let sent = 0;
  const noise = (async () => {
    for (let round = 0; !over; round++) {
      const half = halfOpen[round];
      if (half) await stranger.send(half, to(stage.port));
      const captured = tap.datagrams[round * 7 % tap.datagrams.length]!.data;
      const changed = captured.slice();
      changed[round * 31 % changed.length]! ^= 1 + round % 255;
      const random = crypto.getRandomValues(new Uint8Array(1 + round * 37 % 1400));
      const cut = captured.slice(0, 1 + round * 13 % captured.length);
      for (const datagram of [captured, changed, cut, random, random.slice(0, 1)]) {
        for (const port of ports) await stranger.send(datagram, to(port));
        sent += ports.length;
      }
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  })();

  // One connection that stays, and new ones all the time.
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: local });
  const block = crypto.getRandomValues(new Uint8Array(50_000));
  const buffer = new Uint8Array(block.length);
  for (let i = 0; i < 60; i++) {
    await writeAll(conn, block);
    for (let at = 0; at < block.length;) {
      const length = await conn.read(buffer.subarray(at));
      assert.ok(length !== null, "the connection lives");
      at += length;
    }
    assert.deepEqual(buffer, block);
    if (i % 5 === 0) assert.equal(await exchange(local, `${i}\n`), `${i}\n`);
  }
  conn.close();
  while (sent < 5_000) await new Promise((resolve) => setTimeout(resolve, 10));
  // And who comes new comes in, while three hundred others stand in the door.
  const bob = await stage.agent({
    state: stage.path("bob"),
    invite: await stage.invite("agent", "bob"),
    forwards: { web: freePort() },
  }).ready();
  over = true;
  await noise;

  const { dropped, clients } = await relay.status() as RelayStatus;
  assert.deepEqual(clients.map(({ name }) => name).toSorted(), ["alice", "bob", "home"]);
  const counted = Object.values(dropped).reduce((sum, count) => sum + count, 0);
  assert.ok(counted > 100, `the relay has counted what it dropped: ${JSON.stringify(dropped)}`);
  for (const role of [home, alice, bob]) {
    assert.equal(role.ended, false);
    assert.doesNotMatch(role.text, /lost the relay|tunnel closed/);
  }
});
