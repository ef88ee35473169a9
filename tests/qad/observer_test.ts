import assert from "node:assert/strict";
import fc from "fast-check";
import { addressOf } from "../../src/core/address.ts";
import { decodeObserved, encodeObserve } from "../../src/qad/observe_codec.ts";
import { answerObserve, ObserveKeyRing } from "../../src/qad/observer.ts";
import { SeededRandom } from "../sim/random.ts";
import { hmac as mac } from "./hmac.ts";

const random = new SeededRandom(1).bytes;
const txid = Uint8Array.of(8, 7, 6, 5, 4, 3, 2, 1);
const from = addressOf("203.0.113.9", 4444);

function ring(): ObserveKeyRing {
  const keys = new ObserveKeyRing({ mac });
  keys.rotate(random(32));
  return keys;
}

Deno.test("answerObserve() does tell the asker its address", () => {
  const keys = ring();
  const key = keys.issue(random);
  for (const otherPort of [false, true]) {
    const question = encodeObserve({ txid, otherPort }, key, { mac });
    const answer = answerObserve(question, from, { keys, mac });
    assert.equal(answer.type, "answer");
    if (answer.type !== "answer") return;
    assert.equal(answer.fromOtherPort, otherPort);
    assert.ok(answer.datagram.length <= question.length);
    assert.deepEqual(decodeObserved(answer.datagram, { key: key.key, mac }), {
      ok: true,
      value: { txid, address: from },
    });
  }
});

Deno.test("answerObserve() does tell whose socket for direct paths has asked, and of no other", () => {
  const keys = ring();
  const key = keys.issue(random);
  for (const direct of [true, false]) {
    const question = encodeObserve({ txid, otherPort: false, direct }, key, { mac });
    const answer = answerObserve(question, from, { keys, mac });
    assert.deepEqual(answer.type === "answer" && answer.directOf, direct ? key.id : undefined);
    // The flag is under the mac.
    question[33]! ^= 2;
    assert.equal(answerObserve(question, from, { keys, mac }).type, "drop");
  }
});

Deno.test("answerObserve() does drop forged, foreign and broken questions with the reason", () => {
  const keys = ring();
  const key = keys.issue(random);
  const good = encodeObserve({ txid, otherPort: false }, key, { mac });
  const reason = (datagram: Uint8Array) => {
    const answer = answerObserve(datagram, from, { keys, mac });
    return answer.type === "drop" ? answer.reason : "answered";
  };
  const forged = encodeObserve({ txid, otherPort: false }, { ...key, key: random(16) }, { mac });
  assert.equal(reason(forged), "bad-mac");
  assert.equal(reason(good.subarray(0, 40)), "wrong-length");
  const foreign = ring();
  foreign.rotate(random(32));
  const elsewhere = encodeObserve({ txid, otherPort: false }, foreign.issue(random), { mac });
  assert.notEqual(reason(elsewhere), "answered");
  assert.equal(reason(good), "answered");
});

Deno.test("answerObserve() does take any bytes without throwing, and answers none of them", () => {
  const keys = ring();
  fc.assert(fc.property(fc.uint8Array({ minLength: 0, maxLength: 100 }), (bytes) => {
    assert.equal(answerObserve(bytes, from, { keys, mac }).type, "drop");
  }));
});

Deno.test("ObserveKeyRing.rotate() does keep the keys of one rotation ago and no older ones", () => {
  const keys = ring();
  const first = keys.issue(random);
  keys.rotate(random(32));
  assert.deepEqual(keys.keyOf(first.id), first.key);
  const second = keys.issue(random);
  keys.rotate(random(32));
  assert.equal(keys.keyOf(first.id), undefined);
  assert.deepEqual(keys.keyOf(second.id), second.key);
});

Deno.test("ObserveKeyRing.issue() does give each client a key of its own", () => {
  const keys = ring();
  assert.notDeepEqual(keys.issue(random).key, keys.issue(random).key);
  assert.throws(() => new ObserveKeyRing({ mac }).issue(random), /no secret yet/);
});
