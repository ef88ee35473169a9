/**
 * Bulk and chat in one tunnel over a path that loses packets. Bounds are far from what is measured (`deno task bench -- matrix`), as
 * this machine may be busy, and far from what it was when they were not kept.
 * @module
 */
import assert from "node:assert/strict";
import { percentile } from "../bench/benchmark.ts";
import { measurePromptness } from "../bench/prompt.ts";

Deno.test("1 % loss at 10 ms neither starves bulk nor makes echoes beside it wait for timeouts", async () => {
  // The engine took the round trip for seconds, and bulk was paced to 3 Mbit/s; a lost echo took 80 ms.
  const shape = { delayMs: 5, loss: 0.01, mbps: 50, queueBytes: 65_536, seed: 1 };
  const { bulk, echoes } = await measurePromptness(shape, { seconds: 3, direction: "up" });
  const sum = bulk.reduce((a, b) => a + b);
  assert.ok(sum > 5, `${sum} Mbit/s`);
  const late = percentile(echoes, 97)!;
  assert.ok(late < 60, `the 97th percentile of echoes is ${late} ms`);
});

Deno.test("bulk on a slow path does not go before a chat because it has sent little, too", async () => {
  const shape = { delayMs: 20, loss: 0.01, mbps: 50, queueBytes: 65_536, seed: 77 };
  const { echoes } = await measurePromptness(shape, { seconds: 3, direction: "down" });
  const p75 = percentile(echoes, 75)!;
  assert.ok(p75 < 75, `the 75th percentile of echoes is ${p75} ms, at a round trip of 40`);
});
