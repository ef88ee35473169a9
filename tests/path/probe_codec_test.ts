import assert from "node:assert/strict";
import fc from "fast-check";
import { addressOf } from "../../src/core/address.ts";
import {
  MAX_PROBE_BYTES,
  MIN_PROBE_BYTES,
  peekTunnelId,
  ProbeCodec,
  type ProbeRefusal,
} from "../../src/path/mod.ts";
import { hmac as mac } from "../qad/hmac.ts";

const tunnelId = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
const key = new Uint8Array(16).fill(5);
const agent = new ProbeCodec({ role: "agent", tunnelId, key, mac });
const connector = new ProbeCodec({ role: "connector", tunnelId, key, mac });
const TXID = "0011223344556677";

function reason(codec: ProbeCodec, datagram: Uint8Array): ProbeRefusal | undefined {
  const opened = codec.open(datagram);
  return opened.type === "refused" ? opened.reason : undefined;
}

Deno.test("ProbeCodec.probe() does make a datagram of the size asked for that the other end opens", () => {
  for (const size of [MIN_PROBE_BYTES, 1200, 1472, MAX_PROBE_BYTES]) {
    const datagram = agent.probe(TXID, { size, probeBack: true });
    assert.equal(datagram.length, size);
    assert.equal(datagram[0], 5);
    assert.equal(peekTunnelId(datagram), "0102030405060708");
    assert.deepEqual(connector.open(datagram), {
      type: "probe",
      txid: TXID,
      size,
      probeBack: true,
    });
  }
});

Deno.test("ProbeCodec.probe() does keep within its sizes", () => {
  assert.equal(agent.probe(TXID, { size: 1 }).length, MIN_PROBE_BYTES);
  assert.equal(agent.probe(TXID, { size: 1e6 }).length, MAX_PROBE_BYTES);
});

Deno.test("ProbeCodec.reply() does tell the prober its address, in no more bytes than a probe", () => {
  for (const prober of [addressOf("192.0.2.1", 9), addressOf("2001:db8::1", 1)]) {
    const datagram = connector.reply(TXID, prober);
    assert.ok(datagram.length <= MIN_PROBE_BYTES);
    assert.deepEqual(agent.open(datagram), { type: "reply", txid: TXID, seen: prober });
  }
});

Deno.test("ProbeCodec.open() does refuse a probe of its own that came back", () => {
  assert.equal(reason(agent, agent.probe(TXID, { size: 1200 })), "reflected");
  assert.equal(reason(connector, connector.probe(TXID, { size: 1200 })), "reflected");
});

Deno.test("ProbeCodec.open() does refuse every changed byte, another key and another tunnel", () => {
  const probe = agent.probe(TXID, { size: 64 });
  const reply = agent.reply(TXID, addressOf("192.0.2.1", 9));
  for (const datagram of [probe, reply]) {
    for (let i = 0; i < datagram.length; i++) {
      const changed = datagram.slice();
      changed[i]! ^= 0x02;
      assert.ok(reason(connector, changed), `byte ${i}`);
    }
  }
  const stranger = new ProbeCodec({ role: "connector", tunnelId, key: new Uint8Array(16), mac });
  assert.equal(reason(stranger, probe), "bad-mac");
  const other = new ProbeCodec({ role: "connector", tunnelId: new Uint8Array(8), key, mac });
  assert.equal(reason(other, probe), "wrong-tunnel");
  assert.equal(reason(connector, probe.subarray(0, 63)), "wrong-length");
});

Deno.test("ProbeCodec.open() and peekTunnelId() do take any bytes without throwing", () => {
  const bytes = fc.tuple(fc.constantFrom(5, 6, 0, 64), fc.uint8Array({ maxLength: 100 }))
    .map(([type, rest]) => Uint8Array.of(type, ...rest));
  fc.assert(fc.property(fc.oneof(bytes, fc.uint8Array()), (datagram) => {
    assert.ok(reason(agent, datagram));
    peekTunnelId(datagram);
  }));
});

Deno.test("ProbeCodec does refuse a tunnel id of another length", () => {
  assert.throws(
    () => new ProbeCodec({ role: "agent", tunnelId: new Uint8Array(7), key, mac }),
    RangeError,
  );
});
