import assert from "node:assert/strict";
import { addressOf } from "../../src/core/mod.ts";
import { SeenAddresses } from "../../src/relay/seen_addresses.ts";

const V4 = addressOf("198.51.100.7", 1);
const V4_OTHER = addressOf("198.51.100.7", 2);
const V6 = addressOf("2001:db8::7", 1);

Deno.test("SeenAddresses does know where a client asks from before the client does", () => {
  const seen = new SeenAddresses();
  assert.deepEqual(seen.list, []);
  assert.equal(seen.say([]), false);
  assert.equal(seen.asked(V4), true);
  assert.equal(seen.asked(V4), false);
  assert.equal(seen.asked(V6), true);
  assert.deepEqual(seen.list, [V4.key, V6.key]);
  assert.equal(seen.asked(V4_OTHER), true);
  assert.deepEqual(seen.list, [V4_OTHER.key, V6.key]);
});

Deno.test("SeenAddresses does go by the client's own word from the first on, family by family", () => {
  const seen = new SeenAddresses();
  seen.asked(V4);
  seen.asked(V6);
  // What it says first is what it got an answer for first: no news, and nothing against the other family.
  assert.equal(seen.say([V4.key]), false);
  assert.deepEqual(seen.list, [V4.key, V6.key]);
  // An old question of its, sent again by somebody from elsewhere.
  assert.equal(seen.asked(V4_OTHER), false);
  assert.equal(seen.say([V6.key, V4.key]), true);
  assert.equal(seen.say([V6.key]), true);
  assert.equal(seen.asked(V4), false);
  assert.deepEqual(seen.list, [V6.key]);
});
