import assert from "node:assert/strict";
import fc from "fast-check";
import { isPathValidated, probePath, type QuicConnection } from "../../src/quic/mod.ts";
import { behindLongHeaders } from "../../src/quic/long_header_codec.ts";
import { createTestNetwork } from "../helpers/test_network.ts";
import { createPathsPair, TestPath } from "./paths_pair.ts";

/** Something both ends can agree to wait for. */
async function until(what: () => boolean, text: string): Promise<void> {
  for (const end = performance.now() + 5_000; !what();) {
    assert.ok(performance.now() < end, `not within 5 s: ${text}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/**
 * A client that comes back with early data. `answered` is called when the server's answer to that is here, and the client's
 * last word of the handshake has not left yet.
 */
async function comeBack(
  paths: readonly [TestPath, TestPath],
  answered: (client: QuicConnection) => void,
) {
  const network = await createTestNetwork();
  const settings = { earlyData: true, ticketKey: new Uint8Array(48).fill(7) };
  const first = await createPathsPair([new TestPath(9)], { network, settings });
  await until(() => first.client.ticket() !== undefined, "a ticket");
  const session = first.client.ticket()!;
  first.close();
  let begun: QuicConnection | undefined;
  let heard = 0;
  const pair = await createPathsPair(paths, {
    network,
    settings,
    session,
    begun: (client) => {
      begun = client;
      client.openStream()!.write(Uint8Array.of(1));
    },
    client: { datagram: () => answered(begun!) },
    server: (server) => ({
      stream: () => void server.sendDatagram(Uint8Array.of(2)),
      datagram: () => heard++,
    }),
  });
  return { ...pair, heard: () => heard };
}

/** As {@linkcode comeBack}, and the client has probed another path before its last word of the handshake left. */
async function probeEarly() {
  for (let tries = 0; tries < 10; tries++) {
    // So fast that the server's whole flight is one batch, on a machine that does not stumble.
    const paths = [new TestPath(1, { rate: 1e9 }), new TestPath(2)] as const;
    const [, other] = paths;
    let probed = false;
    const pair = await comeBack(paths, (client) => {
      probed = probePath(client, other.client, other.server);
    });
    if (probed) return { pair, other };
    pair.close();
  }
  throw new Error("the other end gave out no connection id in time: this test shows nothing");
}

Deno.test("probePath() does not keep the last word of the handshake from leaving", async () => {
  const { pair, other } = await probeEarly();
  try {
    await until(() => pair.server.established, "the server is through with the handshake");
    pair.client.sendDatagram(Uint8Array.of(1));
    await until(() => pair.heard() > 0, "a datagram arrives");
    // The first challenge came too early for the server, which was not through with the handshake.
    await until(() => {
      const done = isPathValidated(pair.client, other.client, other.server);
      if (!done) probePath(pair.client, other.client, other.server);
      return done;
    }, "the other path is validated");
  } finally {
    pair.close();
  }
});

Deno.test("QuicConnection.ingest() does read what stands behind a handshake packet that came late", async () => {
  let late = false;
  let heard = 0;
  const pair = await createPathsPair([new TestPath(1)], {
    server: () => ({ datagram: () => heard++ }),
    // As a client's datagrams are that has not heard yet that the handshake is over.
    change: (datagram, toServer) => {
      if (!late || !toServer) return datagram;
      const id = datagram.subarray(1, 9);
      return Uint8Array.of(0xe0, 0, 0, 0, 1, 8, ...id, 0, 30, ...Array(30).fill(5), ...datagram);
    },
  });
  try {
    await until(() => pair.server.established, "the server is through with the handshake");
    late = true;
    pair.client.sendDatagram(Uint8Array.of(1));
    await until(() => heard > 0, "a datagram arrives");
  } finally {
    pair.close();
  }
});

/** A packet with a long header, `size` bytes behind its length. */
function longPacket(type: number, size: number): number[] {
  const head = [0xc0 | type << 4, 0, 0, 0, 1, 2, 5, 6, 1, 7];
  return [
    ...head,
    ...(type === 0 ? [1, 9] : []),
    0x40 | size >> 8,
    size & 0xff,
    ...Array(size).fill(3),
  ];
}

Deno.test("behindLongHeaders() is total, and leaves what has a short header", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
    const rest = behindLongHeaders(bytes);
    assert.ok(rest.length === 0 || (rest[0]! & 0x80) === 0);
  }));
  fc.assert(fc.property(
    fc.array(fc.tuple(fc.constantFrom(0, 1, 2), fc.nat(300)), { maxLength: 4 }),
    fc.uint8Array({ maxLength: 50 }),
    (packets, tail) => {
      const short = tail.length === 0 ? [] : [0x40, ...tail];
      const datagram = [...packets.flatMap(([type, size]) => longPacket(type, size)), ...short];
      assert.deepEqual([...behindLongHeaders(Uint8Array.from(datagram))], short);
    },
  ));
});
