import assert from "node:assert/strict";
import fc from "fast-check";
import { addressOf } from "../../src/core/mod.ts";
import {
  classify,
  DATAGRAM_KINDS,
  type DatagramKind,
  Demultiplexer,
  FIRST_BYTE,
} from "../../src/sockets/mod.ts";

const FROM = addressOf("192.0.2.7", 4433);

Deno.test("classify() sorts every first byte as the protocol says", () => {
  const ours: Record<number, DatagramKind> = {
    2: "sealed",
    3: "observe",
    4: "observed",
    5: "probe",
    6: "probeReply",
    7: "stranger",
  };
  for (let byte = 0; byte < 256; byte++) {
    assert.equal(classify(byte), byte >= 0x40 ? "quic" : ours[byte] ?? "unknown", `byte ${byte}`);
  }
  assert.equal(classify(256), "unknown");
  assert.equal(classify(-1), "unknown");
  assert.equal(Object.keys(FIRST_BYTE).length, Object.keys(ours).length);
});

/** Everything that a demultiplexer with a handler for `kinds` hands on. */
function record(kinds: readonly DatagramKind[]) {
  const calls: { kind: DatagramKind; data: Uint8Array; segmentSize: number }[] = [];
  let batches = 0;
  const handlers = Object.fromEntries(
    kinds.map((kind) => [
      kind,
      (data: Uint8Array, segmentSize: number, from: unknown) => {
        assert.equal(from, FROM);
        calls.push({ kind, data: data.slice(), segmentSize });
      },
    ]),
  );
  const demultiplexer = new Demultiplexer({ ...handlers, batchEnd: () => batches++ });
  return { demultiplexer, calls, batches: () => batches };
}

const TAKEN: readonly DatagramKind[] = DATAGRAM_KINDS.filter((kind) => kind !== "unknown");

Deno.test("Demultiplexer.datagrams() hands a train of one kind on in one call, without copying", () => {
  const data = new Uint8Array(10 * 100 - 30).fill(0x44);
  let same = false;
  const demultiplexer = new Demultiplexer({
    quic: (train, segmentSize) => {
      same = train === data && segmentSize === 100;
    },
  });
  demultiplexer.datagrams(data, 100, FROM);
  assert.ok(same);
});

Deno.test("Demultiplexer.datagrams() splits a mixed train into runs, in order", () => {
  const { demultiplexer, calls } = record(TAKEN);
  demultiplexer.datagrams(Uint8Array.of(0x40, 0, 0xc0, 0, 2, 0, 5, 0, 5), 2, FROM);
  assert.deepEqual(calls, [
    { kind: "quic", data: Uint8Array.of(0x40, 0, 0xc0, 0), segmentSize: 2 },
    { kind: "sealed", data: Uint8Array.of(2, 0), segmentSize: 2 },
    { kind: "probe", data: Uint8Array.of(5, 0, 5), segmentSize: 2 },
  ]);
});

Deno.test("Demultiplexer.datagrams() drops and counts what nobody takes", () => {
  const { demultiplexer, calls } = record(["quic"]);
  demultiplexer.datagrams(Uint8Array.of(0, 1, 2, 2, 0x40, 7), 1, FROM);
  assert.deepEqual(calls.map((call) => call.kind), ["quic"]);
  assert.equal(demultiplexer.dropped.unknown, 2);
  assert.equal(demultiplexer.dropped.stranger, 1);
  assert.equal(demultiplexer.dropped.sealed, 2);
  assert.equal(demultiplexer.dropped.quic, 0);
});

Deno.test("Demultiplexer.batchEnd() is passed on", () => {
  const { demultiplexer, batches } = record([]);
  demultiplexer.batchEnd();
  assert.equal(batches(), 1);
  new Demultiplexer({}).batchEnd();
});

Deno.test("Demultiplexer.datagrams() hands on each datagram once, whole, to its own kind", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 0, maxLength: 300 }),
      fc.integer({ min: 1, max: 40 }),
      fc.subarray([...TAKEN]),
      (data, segmentSize, kinds) => {
        const { demultiplexer, calls } = record(kinds);
        demultiplexer.datagrams(data, segmentSize, FROM);
        const wanted: [DatagramKind, Uint8Array][] = [];
        let dropped = 0;
        for (let at = 0; at < data.length; at += segmentSize) {
          const kind = classify(data[at]!);
          if (kinds.includes(kind)) wanted.push([kind, data.slice(at, at + segmentSize)]);
          else dropped++;
        }
        const got = calls.flatMap(({ kind, data, segmentSize }) => {
          assert.ok(segmentSize <= data.length);
          const datagrams: [DatagramKind, Uint8Array][] = [];
          for (let at = 0; at < data.length; at += segmentSize) {
            datagrams.push([kind, data.slice(at, at + segmentSize)]);
          }
          return datagrams;
        });
        assert.deepEqual(got, wanted);
        assert.equal(Object.values(demultiplexer.dropped).reduce((a, b) => a + b), dropped);
      },
    ),
  );
});
