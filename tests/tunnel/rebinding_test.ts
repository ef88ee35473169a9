import assert from "node:assert/strict";
import { addressOf } from "../../src/core/mod.ts";
import type { Candidate } from "../../src/path/mod.ts";
import { Rebinding } from "../../src/tunnel/rebinding.ts";

function seenAt(...hosts: string[]): Candidate[] {
  const observed = hosts.map((host) => ({
    kind: "observed" as const,
    address: addressOf(host, 5000),
  }));
  return [{ kind: "host", address: addressOf("192.168.1.2", 5000) }, ...observed];
}

Deno.test("Rebinding.changed() does name the families in which the relay sees us elsewhere", () => {
  const rebinding = new Rebinding();
  assert.deepEqual(rebinding.changed(seenAt("198.51.100.1", "2001:db8::1")), []);
  assert.deepEqual(rebinding.changed(seenAt("198.51.100.1", "2001:db8::1")), []);
  assert.deepEqual(rebinding.changed(seenAt("198.51.100.2", "2001:db8::1")), [4]);
  assert.deepEqual(rebinding.changed(seenAt("198.51.100.2", "2001:db8::2")), [6]);
});

Deno.test("Rebinding.changed() does not name a family that was not known before", () => {
  const rebinding = new Rebinding();
  assert.deepEqual(rebinding.changed(seenAt()), []);
  assert.deepEqual(rebinding.changed(seenAt("198.51.100.1")), []);
  // As after a change of the network: nothing known before is believed.
  assert.deepEqual(rebinding.changed(seenAt()), []);
  assert.deepEqual(rebinding.changed(seenAt("198.51.100.2")), []);
});
