import assert from "node:assert/strict";
import { TailProbe } from "../../src/quic/tail_probe.ts";

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** A probe on a path of `rtt`, and what it asked for. */
function probeOn(rtt: number | undefined, believed = rtt) {
  const state = { flying: true, probes: 0 };
  const tail = new TailProbe({
    rtt: () => rtt,
    believedRtt: () => believed,
    isFlying: () => state.flying,
    probe: () => void state.probes++,
  });
  return { state, tail };
}

Deno.test("TailProbe.wrote() asks once, soon; three times where the engine has no idea of the round trip", async () => {
  for (const [believed, wanted] of [[16, 1], [700, 3]] as const) {
    const { state, tail } = probeOn(16, believed);
    tail.wrote();
    tail.sent(140);
    assert.equal(state.probes, 0);
    await sleep(80);
    assert.equal(state.probes, wanted);
  }
});

Deno.test("TailProbe.wrote() asks no oftener for many writes", async () => {
  const { state, tail } = probeOn(80);
  for (let i = 0; i < 10; i++) {
    tail.wrote();
    await sleep(2);
  }
  assert.ok(state.probes <= 3, `${state.probes} probes in 20 ms`);
  tail.stop();
});

Deno.test("TailProbe does not ask when all is acknowledged", async () => {
  const { state, tail } = probeOn(16);
  tail.wrote();
  state.flying = false;
  await sleep(30);
  assert.equal(state.probes, 0);
});

Deno.test("TailProbe.sent() makes it needless: packets that followed tell as much", async () => {
  const { state, tail } = probeOn(16);
  tail.wrote();
  // The write's own and three that follow; acknowledgements do not count.
  for (const bytes of [1452, 31, 1452, 1452, 1452]) tail.sent(bytes);
  await sleep(30);
  assert.equal(state.probes, 0);
  tail.wrote();
  for (const bytes of [140, 31, 31, 31, 31]) tail.sent(bytes);
  await sleep(30);
  assert.ok(state.probes > 0);
  tail.stop();
});

Deno.test("TailProbe stays silent on a path that is short or not known, and when stopped", async () => {
  for (const rtt of [undefined, 1]) {
    const { state, tail } = probeOn(rtt);
    tail.wrote();
    await sleep(20);
    assert.equal(state.probes, 0);
  }
  const { state, tail } = probeOn(16);
  tail.wrote();
  tail.stop();
  await sleep(20);
  assert.equal(state.probes, 0);
});
