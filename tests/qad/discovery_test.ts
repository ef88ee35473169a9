import assert from "node:assert/strict";
import { type Address, addressOf } from "../../src/core/address.ts";
import {
  answerObserve,
  Discovery,
  type DiscoveryInput,
  type DiscoveryOutput,
  encodeObserved,
  KEEP_ALIVE_MS,
  ObserveKeyRing,
} from "../../src/qad/mod.ts";
import { SeededRandom } from "../sim/random.ts";
import { hmac as mac } from "./hmac.ts";

const V4 = addressOf("203.0.113.1", 4433);
const V4_SECOND = addressOf("203.0.113.1", 4434);
const V6 = addressOf("2001:db8::1", 4433);
const V6_SECOND = addressOf("2001:db8::1", 4434);
const ME4 = addressOf("198.51.100.7", 1234);
const ME4_OTHER = addressOf("198.51.100.7", 5678);
const ME6 = addressOf("2001:db8:7::2", 51_001);

function setup() {
  const random = new SeededRandom(3).bytes;
  const keys = new ObserveKeyRing({ mac });
  keys.rotate(random(32));
  const key = keys.issue(random);
  const discovery = new Discovery({ mac, random });
  const tell = (input: DiscoveryInput, now: number) => {
    discovery.handle(input, now);
    const out: DiscoveryOutput[] = [];
    for (let next; (next = discovery.poll());) out.push(next);
    return out;
  };
  const answer = (output: DiscoveryOutput | undefined, from: Address) => {
    assert.equal(output?.type, "send");
    const answered = answerObserve((output as { datagram: Uint8Array }).datagram, from, {
      keys,
      mac,
    });
    assert.equal(answered.type, "answer");
    return { type: "datagram", datagram: (answered as { datagram: Uint8Array }).datagram } as const;
  };
  return { discovery, tell, answer, key, random };
}

const targets = [V4, V4_SECOND, V6, V6_SECOND];

Deno.test("Discovery does ask both families and both ports at once", () => {
  const { tell, key } = setup();
  const out = tell({ type: "targets", targets, key }, 0);
  const asked = out.map((output) => output.type === "send" && output.to.key);
  assert.deepEqual(new Set(asked), new Set(targets.map((target) => target.key)));
});

Deno.test("Discovery does tell addresses per family and how the NAT maps", () => {
  const { tell, answer, key } = setup();
  const out = tell({ type: "targets", targets, key }, 0);
  const to = (target: Address) => out.find((o) => o.type === "send" && o.to === target);
  assert.deepEqual(tell(answer(to(V4), ME4), 20), [
    { type: "observed", family: 4, address: ME4, via: V4 },
  ]);
  assert.deepEqual(tell(answer(to(V4_SECOND), ME4_OTHER), 21), [
    {
      type: "mapping",
      family: 4,
      behaviour: "address-and-port-dependent",
      seen: [ME4, ME4_OTHER],
    },
  ]);
  // The second port first: nothing to compare with until the main one has answered.
  assert.deepEqual(tell(answer(to(V6_SECOND), ME6), 22), []);
  assert.deepEqual(tell(answer(to(V6), ME6), 23), [
    { type: "observed", family: 6, address: ME6, via: V6 },
    { type: "mapping", family: 6, behaviour: "endpoint-independent", seen: [ME6] },
  ]);
});

Deno.test("Discovery does ask again when observations are lost, and tells unreachable once", () => {
  const { discovery, tell, key } = setup();
  tell({ type: "targets", targets: [V4], key }, 0);
  const told: string[] = [];
  let sends = 0;
  for (let now = discovery.deadline()!; now < 60_000; now = discovery.deadline()!) {
    for (const output of tell({ type: "time" }, now)) {
      if (output.type === "send") sends++;
      else told.push(`${output.type} ${output.family}`);
    }
  }
  assert.deepEqual(told, ["unreachable 4"]);
  assert.ok(sends > 15 && sends < 25, `${sends} questions in a minute`);
});

Deno.test("Discovery does keep its mapping at the NAT's pace, not more", () => {
  const { discovery, tell, answer, key } = setup();
  const [question] = tell({ type: "targets", targets: [V4], key }, 0);
  tell(answer(question, ME4), 20);
  let asked = 0;
  for (let now = discovery.deadline()!; now < 600_000; now = discovery.deadline()!) {
    const [again] = tell({ type: "time" }, now);
    asked++;
    assert.deepEqual(tell(answer(again, ME4), now + 20), []);
  }
  assert.ok(asked >= 600_000 / KEEP_ALIVE_MS - 1 && asked <= 30, `${asked} in ten minutes`);
});

Deno.test("Discovery does tell a new address when the NAT rebinds, and asks about the mapping anew", () => {
  const { discovery, tell, answer, key } = setup();
  const out = tell({ type: "targets", targets: [V4, V4_SECOND], key }, 0);
  tell(answer(out[0], ME4), 20);
  tell(answer(out[1], ME4), 21);
  const at = discovery.deadline()!;
  const [again] = tell({ type: "time" }, at);
  const after = tell(answer(again, ME4_OTHER), at + 20);
  assert.deepEqual(after[0], { type: "observed", family: 4, address: ME4_OTHER, via: V4 });
  const second = after.find((output) => output.type === "send");
  assert.equal(second?.to, V4_SECOND);
  assert.deepEqual(tell(answer(second, ME4_OTHER), at + 40), [
    { type: "mapping", family: 4, behaviour: "endpoint-independent", seen: [ME4_OTHER] },
  ]);
});

Deno.test("Discovery does not believe forged, stale or repeated answers", () => {
  const { discovery, tell, answer, key, random } = setup();
  const [first] = tell({ type: "targets", targets: [V4], key }, 0);
  const txid = (first as { datagram: Uint8Array }).datagram.slice(1, 9);
  const forged = encodeObserved({ txid, address: ME4_OTHER }, { key: random(16), mac });
  assert.deepEqual(tell({ type: "datagram", datagram: forged }, 5), []);
  const guessed = encodeObserved({ txid: random(8), address: ME4_OTHER }, { key: key.key, mac });
  assert.deepEqual(tell({ type: "datagram", datagram: guessed }, 6), []);
  const stale = answer(first, ME4_OTHER);
  const [second] = tell({ type: "time" }, discovery.deadline()!);
  assert.equal(tell(answer(second, ME4), 60)[0]?.type, "observed");
  assert.deepEqual(tell(stale, 70), []);
  assert.deepEqual(tell(answer(second, ME4_OTHER), 80), []);
});

Deno.test("Discovery does start over at once when the network changes", () => {
  const { tell, answer, key } = setup();
  const [question] = tell({ type: "targets", targets: [V4], key }, 0);
  tell(answer(question, ME4), 20);
  const [again] = tell({ type: "network-changed" }, 1000);
  assert.equal(again?.type, "send");
  assert.deepEqual(tell(answer(question, ME4), 1010), []);
  assert.equal(tell(answer(again, ME4), 1020)[0]?.type, "observed");
});

Deno.test("Discovery does ask at once when told to refresh, and tells only what changed", () => {
  const { tell, answer, key } = setup();
  const [question] = tell({ type: "targets", targets: [V4], key }, 0);
  tell(answer(question, ME4), 20);
  const [same] = tell({ type: "refresh" }, 1000);
  assert.deepEqual(tell(answer(same, ME4), 1020), []);
  const [other] = tell({ type: "refresh" }, 2000);
  assert.equal(tell(answer(other, ME4_OTHER), 2020)[0]?.type, "observed");
});

Deno.test("Discovery does rest when stopped or when it has nobody to ask", () => {
  const { discovery, tell, key } = setup();
  assert.equal(discovery.deadline(), undefined);
  assert.deepEqual(tell({ type: "time" }, 0), []);
  tell({ type: "targets", targets, key }, 0);
  assert.notEqual(discovery.deadline(), undefined);
  tell({ type: "stop" }, 1);
  assert.equal(discovery.deadline(), undefined);
});

Deno.test("Discovery does take a new key without forgetting what it knows", () => {
  const { discovery, tell, answer, key, random } = setup();
  const [question] = tell({ type: "targets", targets: [V4], key }, 0);
  tell(answer(question, ME4), 20);
  const before = discovery.deadline();
  const other = { id: random(8), key: random(16) };
  assert.deepEqual(tell({ type: "targets", targets: [V4], key: other }, 30), []);
  assert.equal(discovery.deadline(), before);
});

Deno.test("Discovery does take answers to what was asked with the key before, which a return remembers", () => {
  const { tell, answer, key, random } = setup();
  const [question] = tell({ type: "targets", targets: [V4], key }, 0);
  const other = { id: random(8), key: random(16) };
  tell({ type: "targets", targets: [V4], key: other }, 30);
  // The same key once more: the former is still the other one.
  tell({ type: "targets", targets: [V4], key: other }, 31);
  assert.deepEqual(tell(answer(question, ME4), 40), [
    { type: "observed", family: 4, address: ME4, via: V4 },
  ]);
});
