import assert from "node:assert/strict";
import fc from "fast-check";
import { sessionLifetime } from "../../src/zero_rtt/mod.ts";
import { concatBytes, fromHex } from "../../src/core/mod.ts";
import { createPair } from "../quic/pair.ts";

/** A session as the engine's TLS library writes it: version, cipher, time, the timeout given, the rest. */
function session(timeout: string, before = "020101 02020304 0402 1301"): Uint8Array {
  const inner = fromHex(
    `${before} a106 0204 6b034978 ${timeout} a304 02020102`.replaceAll(" ", ""),
  )!;
  return concatBytes(
    new Uint8Array(8),
    Uint8Array.of(0x30, inner.length),
    inner,
    Uint8Array.of(1, 2),
  );
}

Deno.test("sessionLifetime() reads the ticket's own word", () => {
  assert.equal(sessionLifetime(session("a205 0203 02a300")), 2 * 24 * 3_600_000);
  assert.equal(sessionLifetime(session("a203 0201 00")), 0);
  assert.equal(sessionLifetime(session("a206 0204 7fffffff")), 0x7fffffff * 1_000);
});

Deno.test("sessionLifetime() knows nothing of what is not a session", () => {
  for (
    const timeout of [
      "",
      "a200",
      "a203 0401 00",
      "a203 0201 80",
      "a207 0205 0100000000",
      "a202 0200",
    ]
  ) {
    assert.equal(sessionLifetime(session(timeout)), undefined, timeout);
  }
  assert.equal(sessionLifetime(new Uint8Array()), undefined);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
    sessionLifetime(bytes);
    sessionLifetime(Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0x30, ...bytes]));
  }));
});

Deno.test("sessionLifetime() understands the engine's sessions", async () => {
  const pair = await createPair({ settings: { earlyData: true, ticketKey: new Uint8Array(48) } });
  try {
    await pair.established;
    // The ticket follows the handshake.
    let ticket: Uint8Array | null | undefined;
    for (let i = 0; i < 200 && !ticket; i++) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      ticket = pair.client.native.session();
    }
    assert.ok(ticket, "the engine gave no session");
    assert.equal(sessionLifetime(ticket), 2 * 24 * 3_600_000);
  } finally {
    pair.close();
  }
});
