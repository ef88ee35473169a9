import assert from "node:assert/strict";
import fc from "fast-check";
import { addressOf } from "../../src/core/mod.ts";
import { decodeInitialHeader } from "../../src/quic/long_header_codec.ts";
import { NEWCOMER_LIMITS, type NewcomerLimits, Newcomers } from "../../src/quic/newcomers.ts";
import { createPair } from "./pair.ts";

const HERE = addressOf("192.0.2.1", 1000);
const NOW = 1_800_000_000_000;

function initial(dcid: Uint8Array, token: Uint8Array = new Uint8Array(0)): Uint8Array {
  const packet = new Uint8Array(1200);
  packet.set([0xc0, 0, 0, 0, 1, dcid.length, ...dcid, 4, 1, 2, 3, 4]);
  // Lengths below 16384 take two bytes at most (RFC 9000 §16).
  packet.set([0x40 | token.length >> 8, token.length & 0xff, ...token], 11 + dcid.length);
  return packet;
}

/** The ids and the token in a Retry packet (RFC 9000 §17.2.5). */
function readRetry(datagram: Uint8Array): { id: Uint8Array; token: Uint8Array } {
  const scidAt = 6 + datagram[5]!;
  const id = datagram.slice(scidAt + 1, scidAt + 1 + datagram[scidAt]!);
  return { id, token: datagram.slice(scidAt + 1 + id.length, -16) };
}

/** Newcomers of whom one has come already, so that the next has to show where it is. */
function busy(limits: Partial<NewcomerLimits> = {}) {
  const newcomers = new Newcomers({ ...NEWCOMER_LIMITS, freely: 1, timeoutMs: 60_000, ...limits });
  const ends = [newcomers.begin(HERE.host, () => {})];
  return { newcomers, ends, end: () => ends.forEach((end) => end()) };
}

const DCID = Uint8Array.of(9, 8, 7, 6, 5, 4, 3, 2);

Deno.test("decodeInitialHeader() is total, and reads what is there", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
    const header = decodeInitialHeader(bytes);
    if (header) assert.ok(header.dcid.length <= 20 && header.scid.length <= 20);
  }));
  fc.assert(fc.property(
    fc.uint8Array({ maxLength: 20 }),
    fc.uint8Array({ maxLength: 1000 }),
    (dcid, token) => {
      const header = decodeInitialHeader(initial(dcid, token))!;
      assert.deepEqual([...header.dcid], [...dcid]);
      assert.deepEqual([...header.scid], [1, 2, 3, 4]);
      assert.deepEqual([...header.token], [...token]);
    },
  ));
});

Deno.test("Newcomers.judge() accepts freely while few are under way", () => {
  const newcomers = new Newcomers({ ...NEWCOMER_LIMITS, freely: 1 });
  assert.deepEqual(newcomers.judge(initial(DCID), HERE, NOW), { type: "accept" });
  const end = newcomers.begin(HERE.host, () => {});
  assert.equal(newcomers.judge(initial(DCID), HERE, NOW).type, "retry");
  end();
  end();
  assert.equal(newcomers.count, 0);
  assert.deepEqual(newcomers.judge(initial(DCID), HERE, NOW), { type: "accept" });
});

Deno.test("Newcomers.judge() asks who is one too many to come again, with less than it sent", () => {
  const { newcomers, end } = busy();
  const verdict = newcomers.judge(initial(DCID), HERE, NOW);
  assert.ok(verdict.type === "retry");
  assert.ok(verdict.datagram.length < 200);
  const { id, token } = readRetry(verdict.datagram);
  assert.deepEqual(newcomers.judge(initial(id, token), HERE, NOW + 5_000), {
    type: "accept",
    retried: { id, original: DCID },
  });
  end();
});

Deno.test("Newcomers.judge() takes no token from elsewhere, of long ago, of the future, of others, or changed", () => {
  const { newcomers, end } = busy();
  const verdict = newcomers.judge(initial(DCID), HERE, NOW);
  assert.ok(verdict.type === "retry");
  const { id, token } = readRetry(verdict.datagram);
  const dropped = { type: "drop", why: "malformed" };
  const elsewhere = [addressOf("192.0.2.1", 1001), addressOf("192.0.2.2", 1000)];
  for (const from of elsewhere) {
    assert.deepEqual(newcomers.judge(initial(id, token), from, NOW), dropped);
  }
  assert.deepEqual(newcomers.judge(initial(id, token), HERE, NOW + 17_000), dropped);
  assert.deepEqual(newcomers.judge(initial(id, token), HERE, NOW - 2_000), dropped);
  assert.deepEqual(newcomers.judge(initial(id.slice(1), token), HERE, NOW), dropped);
  const other = busy();
  assert.deepEqual(other.newcomers.judge(initial(id, token), HERE, NOW), dropped);
  other.end();
  fc.assert(fc.property(fc.nat(token.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
    const changed = token.slice();
    changed[at]! ^= flip;
    assert.deepEqual(newcomers.judge(initial(id, changed), HERE, NOW), dropped);
  }));
  fc.assert(fc.property(fc.uint8Array({ minLength: 1, maxLength: 80 }), (rubbish) => {
    assert.deepEqual(newcomers.judge(initial(id, rubbish), HERE, NOW), dropped);
  }));
  end();
});

Deno.test("Newcomers.judge() lets one host have its share only, and all together their bound", () => {
  const { newcomers, ends, end } = busy({ mostPerHost: 2, most: 4 });
  const judge = (host: string) => {
    const from = addressOf(host, 7);
    const verdict = newcomers.judge(initial(DCID), from, NOW);
    assert.ok(verdict.type === "retry");
    const { id, token } = readRetry(verdict.datagram);
    return newcomers.judge(initial(id, token), from, NOW);
  };
  const full = { type: "drop", why: "full" };
  ends.push(newcomers.begin(HERE.host, () => {}));
  assert.deepEqual(judge(HERE.host), full);
  assert.equal(judge("192.0.2.2").type, "accept");
  ends.push(newcomers.begin("192.0.2.2", () => {}), newcomers.begin("192.0.2.3", () => {}));
  assert.deepEqual(judge("192.0.2.4"), full);
  end();
  assert.equal(newcomers.count, 0);
});

Deno.test("Newcomers.begin() ends what takes too long", async () => {
  const newcomers = new Newcomers({ ...NEWCOMER_LIMITS, timeoutMs: 1 });
  await new Promise<void>((late) => newcomers.begin(HERE.host, late));
  assert.equal(newcomers.count, 0);
});

Deno.test("QuicEndpoint lets in who shows where it is", async () => {
  const pair = await createPair({ newcomers: { ...NEWCOMER_LIMITS, freely: 0 } });
  await pair.established;
  const server = await pair.server;
  assert.equal(pair.serverEnd.counters.retried, 1);
  assert.equal(server.peer.key, pair.client.local.key);
  // The client is done a moment before the server.
  while (pair.serverEnd.handshakes > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  pair.close();
});
