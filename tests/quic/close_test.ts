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

Deno.test("close() lets what was written before arrive before it, and waits for no bulk", async () => {
  for (const length of [100, 60_000, 4_000_000]) {
    const heard = Promise.withResolvers<number>();
    const pair = await createPair({
      server: () => ({
        stream: async (stream) => {
          const buffer = new Uint8Array(65_536);
          let sum = 0;
          for (let n = stream.read(buffer); n >= 0; n = stream.read(buffer)) {
            sum += n;
            if (n === 0) await stream.readable();
          }
          heard.resolve(sum);
        },
      }),
    });
    await pair.established;
    // A window that is open, so that a short text leaves at once.
    const stream = pair.client.openStream()!;
    stream.write(new Uint8Array(length));
    pair.client.close(1, "bye");
    // Idleness would end it too, but only after ten seconds.
    const late = setTimeout(() => heard.reject(new Error("the close has not arrived")), 5_000);
    const sum = await heard.promise;
    clearTimeout(late);
    if (length <= 100) assert.equal(sum, length);
    else assert.ok(sum > 10_000, `${sum} bytes of ${length} arrived`);
    pair.close();
  }
});
