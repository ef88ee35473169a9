import assert from "node:assert/strict";
import { Renewal, RENEWAL_LIMITS, renewalLimits } from "../../src/cli/renewal.ts";
import { createLogger } from "../../src/core/mod.ts";

const log = createLogger(() => {}, { level: "error" });
const LIMITS = { grown: 100, idleMs: 40, lookMs: 5 };

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

Deno.test("Renewal.watch() does end a role that has grown, and only while no flow has been open for a while", async () => {
  let [size, flows, ended] = [1_000, 1, 0];
  const renewal = new Renewal({ limits: LIMITS, log, end: () => ended++, size: () => size });
  renewal.watch(() => flows);
  try {
    size = 1_200;
    await sleep(80);
    assert.equal(ended, 0, "a flow is open");
    size = 1_050;
    flows = 0;
    await sleep(80);
    assert.equal(ended, 0, "it is small enough");
    assert.equal(renewal.due, false);
    size = 1_100;
    await sleep(80);
    assert.equal(ended, 1);
    assert.equal(renewal.due, true);
  } finally {
    renewal.stop();
  }
});

Deno.test("Renewal.watch() does count an idle time from the last flow's end", async () => {
  let [flows, ended] = [0, 0];
  const limits = { ...LIMITS, grown: 0, idleMs: 150 };
  const renewal = new Renewal({ limits, log, end: () => ended++, size: () => 1_000 });
  renewal.watch(() => flows);
  try {
    await sleep(60);
    flows = 1;
    await sleep(30);
    flows = 0;
    await sleep(90);
    assert.equal(ended, 0);
  } finally {
    renewal.stop();
  }
});

Deno.test("renewalLimits() does take nothing but a number from the environment", () => {
  assert.equal(renewalLimits(undefined), RENEWAL_LIMITS);
  assert.equal(renewalLimits("much"), RENEWAL_LIMITS);
  assert.equal(renewalLimits("-1"), RENEWAL_LIMITS);
  assert.equal(renewalLimits("2").grown, 2 * 2 ** 20);
});
