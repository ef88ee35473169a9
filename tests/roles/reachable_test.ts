import assert from "node:assert/strict";
import { addressOf } from "../../src/core/mod.ts";
import { hasFamilyFor, reachableOf } from "../../src/roles/reachable.ts";

const V4 = addressOf("198.51.100.10", 4433);
const V6 = addressOf("2001:db8::10", 4433);

Deno.test("hasFamilyFor() wants an address of the family that means something beyond its link", () => {
  const own = (...hosts: string[]) => hosts.map((host) => addressOf(host, 1));
  assert.equal(hasFamilyFor(V4, own("192.168.1.2")), true);
  assert.equal(hasFamilyFor(V6, own("192.168.1.2")), false);
  assert.equal(hasFamilyFor(V6, own("127.0.0.1", "::1", "fe80::1")), false);
  assert.equal(hasFamilyFor(V4, own("169.254.3.4", "2001:db8:1::2")), false);
  assert.equal(hasFamilyFor(V6, own("2001:db8:1::2")), true);
  assert.equal(hasFamilyFor(addressOf("127.0.0.1", 4433), []), true);
});

Deno.test("reachableOf() does keep this very machine", () => {
  const local = addressOf("127.0.0.1", 4433);
  assert.deepEqual(reachableOf([local]), [local]);
});
