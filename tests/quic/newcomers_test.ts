import assert from "node:assert/strict";
import fc from "fast-check";
import { addressOf } from "../../src/core/mod.ts";
import { decodeInitialHeader } from "../../src/quic/long_header_codec.ts";
import { NEWCOMER_LIMITS, type NewcomerLimits, Newcomers } from "../../src/quic/newcomers.ts";
import { createPair, type Pair } from "./pair.ts";

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
  assert.deepEqual(newcomers.judge(initial(DCID.toReversed()), HERE, NOW), { type: "accept" });
});

Deno.test("Newcomers.judge() sends copies of what it sent away the same way, though there is room by then", () => {
  const { newcomers, end } = busy();
  assert.equal(newcomers.judge(initial(DCID), HERE, NOW).type, "retry");
  end();
  const again = newcomers.judge(initial(DCID), HERE, NOW + 400);
  assert.ok(again.type === "retry");
  const { id, token } = readRetry(again.datagram);
  assert.equal(newcomers.judge(initial(id, token), HERE, NOW + 800).type, "accept");
  // It remembers no more than so many, whoever comes.
  const far = busy();
  far.newcomers.judge(initial(DCID), HERE, NOW);
  for (let i = 0; i < 16_384; i++) {
    far.newcomers.judge(initial(Uint8Array.of(0, 0, 0, 0, i >> 8, i, 0, 0)), HERE, NOW);
  }
  far.end();
  assert.equal(far.newcomers.judge(initial(DCID), HERE, NOW).type, "accept");
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

/** Whoever is there comes again with the token that it was sent. */
function comeAgain(newcomers: Newcomers, host: string, now = NOW): string {
  const from = addressOf(host, 7);
  const verdict = newcomers.judge(initial(DCID), from, now);
  assert.ok(verdict.type === "retry");
  const { id, token } = readRetry(verdict.datagram);
  const second = newcomers.judge(initial(id, token), from, now);
  return second.type === "drop" ? second.why : second.type;
}

Deno.test("Newcomers.judge() lets one network have its share only, 56 bits of IPv6 as much as one IPv4 address", () => {
  const { newcomers, ends, end } = busy({ mostPerPrefix: 2 });
  ends.push(newcomers.begin(HERE.host, () => {}));
  assert.equal(comeAgain(newcomers, HERE.host), "full");
  assert.equal(comeAgain(newcomers, "192.0.2.2"), "accept");
  ends.push(newcomers.begin("2001:db8::1", () => {}), newcomers.begin("2001:db8::2", () => {}));
  assert.equal(comeAgain(newcomers, "2001:db8:0:ff::3"), "full");
  assert.equal(comeAgain(newcomers, "2001:db8:0:100::3"), "accept");
  end();
  assert.equal(newcomers.count, 0);
});

Deno.test("Newcomers.judge() lets one network begin so many a second only, whoever else comes", () => {
  const { newcomers, end } = busy({ proven: { burst: 3, perSecond: 1 } });
  const come = (now: number) => comeAgain(newcomers, HERE.host, now);
  assert.deepEqual([NOW, NOW, NOW, NOW].map(come), ["accept", "accept", "accept", "full"]);
  assert.equal(comeAgain(newcomers, "192.0.2.2"), "accept");
  assert.equal(come(NOW + 1_500), "accept");
  assert.equal(come(NOW + 1_500), "full");
  end();
});

Deno.test("Newcomers.judge() asks a network that begins many where it is, though there is room, and accepts it then", () => {
  const newcomers = new Newcomers({ ...NEWCOMER_LIMITS, unproven: { burst: 2, perSecond: 1 } });
  const types = [1, 2, 3].map(() => newcomers.judge(initial(DCID), HERE, NOW).type);
  assert.deepEqual(types, ["accept", "accept", "retry"]);
  // Somebody may have pretended to be there: it is not kept out.
  assert.equal(comeAgain(newcomers, HERE.host), "accept");
  const other = initial(DCID.toReversed());
  assert.equal(newcomers.judge(other, addressOf("192.0.2.2", 1), NOW).type, "accept");
});

/** How many of one network come in, one after the other, each of whom ends its handshake as `end` says. */
function comeInTurn(count: number, end: (i: number) => Uint8Array | undefined): number {
  const newcomers = new Newcomers({
    ...NEWCOMER_LIMITS,
    freely: 0,
    proven: { burst: 3, perSecond: 0 },
  });
  let came = 0;
  for (let i = 0; i < count; i++) {
    if (comeAgain(newcomers, HERE.host, NOW) !== "accept") continue;
    came++;
    newcomers.begin(HERE.host, () => {})(end(i));
  }
  return came;
}

Deno.test("Newcomers.judge() does not count whose handshake has ended well, but no certificate excuses for ever", () => {
  const certificate = (i: number) => new Uint8Array(400).fill(i >> 8, 390, 391).fill(i, 391);
  assert.equal(comeInTurn(500, certificate), 500);
  assert.equal(comeInTurn(500, () => undefined), 3);
  assert.equal(comeInTurn(500, () => certificate(1)), 3 + 8);
});

Deno.test("Newcomers.judge() makes room at the cost of the network that has most", () => {
  const newcomers = new Newcomers({ ...NEWCOMER_LIMITS, freely: 0, most: 4 });
  const gone: string[] = [];
  const begin = (host: string, name: string) => newcomers.begin(host, () => gone.push(name), NOW);
  const ends = ["a", "b", "c"].map((name) => begin("192.0.2.1", name));
  ends.push(begin("192.0.2.2", "d"));
  assert.equal(comeAgain(newcomers, "192.0.2.3"), "accept");
  assert.deepEqual(gone, ["a"]);
  ends.push(begin("192.0.2.3", "e"));
  // That network itself gets no more than it has, nor does one that would have as many.
  assert.equal(comeAgain(newcomers, "192.0.2.1"), "full");
  assert.equal(comeAgain(newcomers, "192.0.2.2"), "full");
  assert.deepEqual(gone, ["a"]);
  for (const end of ends) end();
  assert.equal(newcomers.count, 0);
});

Deno.test("Newcomers.judge() makes room at the cost of the oldest where each network has one, but of no young one", () => {
  const newcomers = new Newcomers({ ...NEWCOMER_LIMITS, freely: 0, most: 3 });
  const gone: number[] = [];
  const ends = [1, 2, 3].map((i) =>
    newcomers.begin(`192.0.2.${i}`, () => gone.push(i), NOW + i * 100)
  );
  assert.equal(comeAgain(newcomers, "192.0.2.9", NOW + 1_000), "full");
  assert.equal(comeAgain(newcomers, "192.0.2.9", NOW + 1_200), "accept");
  assert.deepEqual(gone, [1]);
  for (const end of ends) end();
  assert.equal(newcomers.count, 0);
});

Deno.test("Newcomers.judge() answers a flood from 100,000 addresses with Retry, and remembers none of them", () => {
  const newcomers = new Newcomers();
  const ends: (() => void)[] = [];
  const seen = { accept: 0, retry: 0, drop: 0 };
  const packet = initial(DCID);
  for (let i = 0; i < 100_000; i++) {
    const host = i % 2 === 0
      ? `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`
      : `2001:db8:${(i >> 8).toString(16)}:${((i & 255) << 8).toString(16)}::1`;
    const { type } = newcomers.judge(packet, addressOf(host, 1 + i % 60_000), NOW + i / 20);
    seen[type]++;
    if (type === "accept") ends.push(newcomers.begin(host, () => {}, NOW));
  }
  assert.deepEqual(seen, { accept: 64, retry: 99_936, drop: 0 });
  assert.equal(newcomers.count, 64);
  assert.equal(comeAgain(newcomers, HERE.host), "accept");
  for (const end of ends) end();
});

Deno.test("Newcomers.begin() ends what takes too long", async () => {
  const newcomers = new Newcomers({ ...NEWCOMER_LIMITS, timeoutMs: 1 });
  await new Promise<void>((late) => newcomers.begin(HERE.host, late));
  assert.equal(newcomers.count, 0);
});

Deno.test("Newcomers.judge() lets who was asked to come again go on as such, though there is room for anybody by then", () => {
  const { newcomers, end } = busy();
  const verdict = newcomers.judge(initial(DCID), HERE, NOW);
  assert.ok(verdict.type === "retry");
  end();
  const { id, token } = readRetry(verdict.datagram);
  // The client ends the connection where the server's parameters do not name both ids (RFC 9000 §7.3).
  assert.deepEqual(newcomers.judge(initial(id, token), HERE, NOW), {
    type: "accept",
    retried: { id, original: DCID },
  });
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

Deno.test("QuicEndpoint lets in who comes again when the load has passed", async () => {
  const limits = { ...NEWCOMER_LIMITS, freely: 0 };
  const pair = await createPair({
    newcomers: limits,
    deliver: (toServer) => {
      if (!toServer) limits.freely = NEWCOMER_LIMITS.freely;
      return true;
    },
  });
  await pair.established;
  assert.equal(pair.serverEnd.counters.retried, 1);
  // A client that misses its Retry in the server's parameters calls the handshake done, and ends the connection.
  while (pair.serverEnd.handshakes > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(pair.client.closed, false);
  assert.ok(pair.client.openStream());
  pair.close();
});

Deno.test("QuicEndpoint begins one handshake with a client that it sent away, whenever copies of its first packet come", async () => {
  const limits = { ...NEWCOMER_LIMITS, freely: 0 };
  const copies: Uint8Array[] = [];
  const late = () => {
    for (const copy of copies) {
      pair.serverEnd.ingest(copy, copy.length, pair.client.local, pair.client.peer);
    }
    pair.serverEnd.batchEnd();
  };
  let begun = 0;
  const pair: Pair = await createPair({
    newcomers: limits,
    server: () => {
      begun++;
      return {};
    },
    deliver: (toServer, datagram) => {
      if (toServer && begun === 0 && decodeInitialHeader(datagram)?.token.length === 0) {
        if (copies.length === 0) copies.push(datagram.slice());
      } else if (!toServer && begun === 0 && limits.freely === 0) {
        // The load has passed while the Retry is on its way.
        limits.freely = NEWCOMER_LIMITS.freely;
        late();
      }
      return true;
    },
  });
  await pair.established;
  assert.equal(copies.length, 1);
  assert.equal(begun, 1);
  late();
  assert.equal(begun, 1);
  assert.equal(pair.serverEnd.size, 1);
  while (pair.serverEnd.handshakes > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  late();
  assert.equal(begun, 1);
  assert.equal(pair.client.closed, false);
  pair.close();
});
