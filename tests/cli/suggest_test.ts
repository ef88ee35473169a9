import assert from "node:assert/strict";
import fc from "fast-check";
import { editDistance, nearest } from "../../src/cli/suggest.ts";

Deno.test("editDistance() counts slips", () => {
  for (
    const [a, b, distance] of [
      ["", "", 0],
      ["", "abc", 3],
      ["relay", "relay", 0],
      ["rleay", "relay", 1],
      ["reley", "relay", 1],
      ["relayy", "relay", 1],
      ["rlay", "relay", 1],
      ["listn", "listen", 1],
      ["kitten", "sitting", 3],
    ] as const
  ) assert.equal(editDistance(a, b), distance, `${a} ${b}`);
});

Deno.test("editDistance() is symmetric, zero only for equals, and obeys its bounds", () => {
  fc.assert(fc.property(fc.string({ maxLength: 12 }), fc.string({ maxLength: 12 }), (a, b) => {
    const distance = editDistance(a, b);
    assert.equal(distance, editDistance(b, a));
    assert.equal(distance === 0, a === b);
    assert.ok(distance <= Math.max(a.length, b.length));
    assert.ok(distance >= Math.abs(a.length - b.length));
  }));
});

Deno.test("nearest() does name the right one, or none", () => {
  const words = ["relay", "invite", "connector", "connect", "agent", "status", "ping"];
  for (
    const [word, wanted] of [
      ["rely", "relay"],
      ["RELAY", "relay"],
      ["conector", "connector"],
      ["conect", "connect"],
      ["stat", "status"],
      ["ag", "agent"],
      ["pnig", "ping"],
      ["frobnicate", undefined],
      ["", undefined],
      ["x".repeat(1000), undefined],
    ] as const
  ) assert.equal(nearest(word, words), wanted, word);
  assert.equal(nearest("x", []), undefined);
});
