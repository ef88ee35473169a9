import assert from "node:assert/strict";
import fc from "fast-check";
import { addressOf } from "../../src/core/address.ts";
import {
  CANDIDATE_KINDS,
  decodeOffer,
  encodeOffer,
  isUsable,
  MAX_OFFER_CANDIDATES,
  type PathOffer,
} from "../../src/path/mod.ts";

const offer: PathOffer = {
  generation: 3,
  candidates: [
    { kind: "host", address: addressOf("192.168.1.5", 51_001) },
    { kind: "observed", address: addressOf("2001:db8::5", 51_001) },
  ],
  mapping: { v4: "endpoint-independent" },
};

Deno.test("encodeOffer() does make JSON that decodeOffer() reads back", () => {
  const json = JSON.parse(JSON.stringify(encodeOffer(offer)));
  assert.deepEqual(json, {
    generation: 3,
    mapping: { v4: "endpoint-independent" },
    candidates: [
      { kind: "host", address: "192.168.1.5:51001" },
      { kind: "observed", address: "[2001:db8::5]:51001" },
    ],
  });
  assert.deepEqual(decodeOffer(json), { ok: true, value: offer });
});

Deno.test("decodeOffer() does undo encodeOffer() for any offer of usable candidates", () => {
  const address = fc.tuple(fc.oneof(fc.ipV4(), fc.ipV6()), fc.integer({ min: 1, max: 65_535 }))
    .map(([host, port]) => addressOf(host, port)).filter((each) => isUsable(each));
  const candidates = fc.uniqueArray(
    fc.record({ kind: fc.constantFrom(...CANDIDATE_KINDS), address }),
    { maxLength: MAX_OFFER_CANDIDATES, selector: (each) => each.address.key },
  );
  fc.assert(fc.property(candidates, fc.nat(), (list, generation) => {
    const whole: PathOffer = { generation, candidates: list, mapping: {} };
    const decoded = decodeOffer(JSON.parse(JSON.stringify(encodeOffer(whole))));
    assert.ok(decoded.ok);
    assert.deepEqual(
      decoded.value.candidates.map((each) => [each.kind, each.address.key]),
      list.map((each) => [each.kind, each.address.key]),
    );
  }));
});

Deno.test("decodeOffer() does refuse what is no offer, with the reason", () => {
  const reason = (json: unknown) => {
    const decoded = decodeOffer(json);
    return decoded.ok ? "" : decoded.refused;
  };
  assert.match(reason(null), /not an object/);
  assert.match(reason([]), /not an object/);
  assert.match(reason({ generation: -1, candidates: [] }), /generation/);
  assert.match(reason({ generation: 1.5, candidates: [] }), /generation/);
  assert.match(reason({ generation: 1 }), /no candidates/);
  const bad = (candidate: unknown) => reason({ generation: 1, candidates: [candidate] });
  assert.match(bad({ kind: "host" }), /candidate 0 is malformed/);
  assert.match(bad({ kind: "relay", address: "1.2.3.4:5" }), /malformed/);
  assert.match(bad({ kind: "host", address: "example.org:5" }), /malformed/);
  assert.match(bad({ kind: "host", address: "1.2.3.4:99999" }), /malformed/);
  assert.match(bad({ kind: "host", address: "1".repeat(5000) }), /malformed/);
  const many = Array(MAX_OFFER_CANDIDATES + 1).fill({ kind: "host", address: "10.0.0.1:1" });
  assert.match(reason({ generation: 1, candidates: many }), /33 candidates, more than 32/);
});

Deno.test("decodeOffer() does leave out what must not be probed, and unknown words", () => {
  const addresses = [
    "127.0.0.1:80",
    "[::1]:80",
    "224.0.0.1:80",
    "255.255.255.255:80",
    "0.0.0.0:80",
    "[fe80::1]:80",
    "[ff02::1]:80",
    "10.0.0.1:0",
    "10.0.0.1:80",
    "10.0.0.1:80",
  ];
  const json = {
    generation: 0,
    mapping: { v4: "odd", v6: "address-dependent" },
    candidates: addresses.map((address) => ({ kind: "host", address })),
  };
  const decoded = decodeOffer(json);
  assert.ok(decoded.ok);
  assert.deepEqual(decoded.value.candidates.map(({ address }) => address.key), ["10.0.0.1:80"]);
  assert.deepEqual(decoded.value.mapping, { v6: "address-dependent" });
  const local = decodeOffer(json, { allowLoopback: true });
  assert.equal(local.ok && local.value.candidates.length, 3);
});

Deno.test("decodeOffer() does take any JSON without throwing", () => {
  fc.assert(fc.property(fc.jsonValue(), (json) => {
    decodeOffer(json);
    decodeOffer({ generation: 1, candidates: [json], mapping: json });
  }));
});
