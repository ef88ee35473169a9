import assert from "node:assert/strict";
import fc from "fast-check";
import {
  decodeFlowId,
  encodeFlowId,
  encodeStreamPacket,
  StreamPackets,
} from "../../src/mux/udp_packet_codec.ts";
import { concatBytes } from "../../src/core/mod.ts";

Deno.test("encodeFlowId() does write the examples of RFC 9000 A.1", () => {
  assert.deepEqual([...encodeFlowId(37)], [0x25]);
  assert.deepEqual([...encodeFlowId(15_293)], [0x7b, 0xbd]);
  assert.deepEqual([...encodeFlowId(494_878_333)], [0x9d, 0x7f, 0x3e, 0x7d]);
  assert.deepEqual([...encodeFlowId(2 ** 40 + 5)], [0xc0, 0, 1, 0, 0, 0, 0, 5]);
});

Deno.test("decodeFlowId() does read back every id, with anything behind it", () => {
  fc.assert(fc.property(fc.maxSafeNat(), fc.uint8Array({ maxLength: 20 }), (id, payload) => {
    const prefix = encodeFlowId(id);
    assert.deepEqual(decodeFlowId(concatBytes(prefix, payload)), { id, length: prefix.length });
  }));
});

Deno.test("decodeFlowId() does answer for any bytes, and never reads past them", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 12 }), (bytes) => {
    const decoded = decodeFlowId(bytes);
    assert.ok(!decoded || decoded.length <= bytes.length && Number.isSafeInteger(decoded.id));
  }));
  assert.equal(decodeFlowId(new Uint8Array(0)), undefined);
  assert.equal(decodeFlowId(Uint8Array.of(0x40)), undefined);
  assert.equal(decodeFlowId(new Uint8Array(8).fill(0xff)), undefined);
});

Deno.test("StreamPackets.push() does give back what was framed, however it is cut", () => {
  const packets = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 });
  fc.assert(fc.property(packets, fc.array(fc.integer({ min: 1, max: 400 })), (sent, cuts) => {
    const bytes = concatBytes(...sent.map(encodeStreamPacket));
    const got: Uint8Array[] = [];
    const reader = new StreamPackets();
    let at = 0;
    for (const cut of [...cuts, bytes.length]) {
      reader.push(bytes.subarray(at, at + cut), (packet) => got.push(packet.slice()));
      at += cut;
    }
    assert.deepEqual(got, sent);
  }));
});
