/**
 * How connections end, and that the other end hears of it.
 * @module
 */
import assert from "node:assert/strict";
import type { CloseReason } from "../../src/quic/mod.ts";
import { createPair, type Pair } from "./pair.ts";

for (const who of ["client", "server"] as const) {
  Deno.test(`close() of a ${who} in the moment of its handshake's end reaches the other end`, async () => {
    const client = Promise.withResolvers<CloseReason>();
    const server = Promise.withResolvers<CloseReason>();
    const cell: { pair?: Pair } = {};
    cell.pair = await createPair({
      client: {
        established: () => {
          if (who === "client") cell.pair!.client.close(1, "not you");
        },
        closed: client.resolve,
      },
      server: (connection) => ({
        established: () => {
          if (who === "server") connection.close(1, "not you");
        },
        closed: server.resolve,
      }),
    });
    const reasons = await Promise.all([client.promise, server.promise]);
    assert.deepEqual(reasons.map(({ text, code }) => [text, code]), [
      ["not you", 1],
      ["not you", 1],
    ]);
    assert.deepEqual(
      reasons.map(({ by }) => by),
      who === "client" ? ["local", "peer"] : ["peer", "local"],
    );
    cell.pair.close();
  });
}
