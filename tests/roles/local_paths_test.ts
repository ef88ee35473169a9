import assert from "node:assert/strict";
import { SILENT_LOGGER } from "../../src/core/log.ts";
import { LocalPaths } from "../../src/roles/local_paths.ts";
import { MemoryNetwork } from "../../src/sockets/mod.ts";

Deno.test("LocalPaths does notice that the machine has slept, whether or not its other clock stood still", async () => {
  const socket = new MemoryNetwork().open("10.0.0.1", 5000);
  let asleepMs = 0;
  const told: string[] = [];
  const paths = new LocalPaths({
    socket,
    clock: { now: () => performance.now(), unix: () => Date.now() + asleepMs },
    log: SILENT_LOGGER,
    changed: () => {},
    networkChanged: () => told.push("network changed"),
    slept: (ms, stoodStill) => {
      // What is said first after it tells nobody the address of before.
      assert.equal(paths.v4.observed, undefined);
      told.push(`slept ${Math.round(ms / 1000)} s`);
      // Its monotonic clock goes on here, and knows nothing of what the wall clock has jumped, not even of the busy moment.
      assert.ok(Math.abs(stoodStill - ms) < 2_000, `${stoodStill} of ${ms} ms`);
    },
  });
  try {
    await new Promise((resolve) => setTimeout(resolve, 900));
    // A busy machine's timers are late; that is no sleep.
    asleepMs += 1_000;
    await new Promise((resolve) => setTimeout(resolve, 900));
    assert.deepEqual(told, []);
    paths.v4.observed = socket.local;
    asleepMs += 600_000;
    await new Promise((resolve) => setTimeout(resolve, 900));
    assert.deepEqual(told, ["slept 600 s", "network changed"]);
    // Whoever asks before it is looked at next is told at once; what takes its time comes behind, once.
    asleepMs += 60_000;
    paths.lookAwake();
    assert.deepEqual(told.splice(2), ["slept 60 s"]);
    paths.lookAwake();
    await new Promise((resolve) => setTimeout(resolve, 900));
    assert.deepEqual(told.splice(2), ["network changed"]);
  } finally {
    paths.stop();
    // The thread that watches the network has to hear of it.
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
});
