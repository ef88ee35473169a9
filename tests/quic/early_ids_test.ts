import assert from "node:assert/strict";
import { probePath } from "../../src/quic/mod.ts";
import type { QuicConnection } from "../../src/quic/mod.ts";
import { createPathsPair, TestPath } from "./paths_pair.ts";

Deno.test("ConnectionHandler.idsGiven() does tell when a new path may be probed, and not before", async () => {
  const paths = [new TestPath(1), new TestPath(2)] as const;
  const [, other] = paths;
  const told = Promise.withResolvers<boolean>();
  const probe = (client: QuicConnection) => probePath(client, other.client, other.server);
  let client: QuicConnection | undefined;
  let early: boolean | undefined;
  const pair = await createPathsPair(paths, {
    client: {
      // The server's ids come behind its own end of the handshake, a round trip later.
      established: () => early ??= probe(client!),
      idsGiven: () => told.resolve(probe(client!)),
    },
    begun: (begun) => {
      client = begun;
    },
  });
  try {
    assert.equal(await told.promise, true);
    assert.equal(early, false);
  } finally {
    pair.close();
  }
});

Deno.test("QuicConnection.hurry() does send at once what the other end waits for", async () => {
  let hurrying = false;
  let sent = 0;
  const given = Promise.withResolvers<void>();
  const pair = await createPathsPair([new TestPath(1)], {
    client: { idsGiven: () => given.resolve() },
    server: (server) => ({
      established: () => {
        hurrying = true;
        server.hurry();
        hurrying = false;
      },
    }),
    change: (datagram, toServer) => {
      if (!toServer && hurrying) sent++;
      return datagram;
    },
  });
  try {
    await given.promise;
    assert.ok(sent > 0);
  } finally {
    pair.close();
  }
});
