import assert from "node:assert/strict";
import { rehearse } from "../../src/roles/rehearsal.ts";
import { tunnelConfig } from "../../src/roles/tunnel_profile.ts";
import { createTestNetwork } from "../helpers/test_network.ts";

const clock = { now: () => performance.now(), unix: () => Date.now() };

async function createConfig() {
  const { caPem, connector } = await createTestNetwork();
  const { certPem, keyPem } = await connector("home");
  return tunnelConfig({ caPem, certPem, keyPem });
}

Deno.test("rehearse() does play a tunnel to its end, direct, and leaves nothing that runs", async () => {
  const config = await createConfig();
  const { signal } = new AbortController();
  for (let i = 0; i < 3; i++) {
    const { direct } = await rehearse({ config, clock, noDirect: false, signal });
    assert.equal(direct, true);
  }
});

Deno.test("rehearse() does stay relayed where direct paths are switched off", async () => {
  const config = await createConfig();
  const { signal } = new AbortController();
  const { direct, ms } = await rehearse({ config, clock, noDirect: true, signal });
  assert.equal(direct, false);
  assert.ok(ms < 2_500, `${ms} ms`);
});

Deno.test("rehearse() does end when it is told to", async () => {
  const config = await createConfig();
  const over = new AbortController();
  const playing = rehearse({ config, clock, noDirect: false, signal: over.signal });
  over.abort();
  const { direct, ms } = await playing;
  assert.equal(direct, false);
  assert.ok(ms < 2_500, `${ms} ms`);
});
