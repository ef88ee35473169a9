import assert from "node:assert/strict";
import { HeadStart } from "../../src/tunnel/head_start.ts";

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

Deno.test("HeadStart.take() acts at once, or a moment later and then on the newest only", async () => {
  const seen: string[] = [];
  const start = new HeadStart<string>((value) => seen.push(value));
  start.take("a", false);
  assert.deepEqual(seen, ["a"]);
  start.take("b", true);
  // Whatever it came in: it must not overtake what is held.
  start.take("c", false);
  assert.deepEqual(seen, ["a"]);
  await sleep(20);
  assert.deepEqual(seen, ["a", "c"]);
  start.take("d", true);
  await sleep(20);
  assert.deepEqual(seen, ["a", "c", "d"]);
});

Deno.test("HeadStart.stop() forgets what is held", async () => {
  const seen: string[] = [];
  const start = new HeadStart<string>((value) => seen.push(value));
  start.take("a", true);
  start.stop();
  await sleep(20);
  assert.deepEqual(seen, []);
});
