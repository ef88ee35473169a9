import assert from "node:assert/strict";
import { warmUp } from "../../src/roles/warm_up.ts";

Deno.test("warmUp() does read all of its message", () => {
  assert.ok(warmUp());
});
