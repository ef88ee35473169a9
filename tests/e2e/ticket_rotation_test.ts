/**
 * Relay and connector change their ticket keys while they run: tickets of the old key are refused, which nobody sees, and those of
 * the new one are good.
 * @module
 */
import assert from "node:assert/strict";
import { TICKET_KEY_LIFETIME_MS } from "../../src/zero_rtt/mod.ts";
import { EarlyScene } from "./early_scene.ts";
import { eventually } from "./scene.ts";

const HOUR = 3_600_000;
/** The key is due that long after the start. */
const DUE_MS = 3_000;

/** What is done every hour is done every 100 ms. Answers how to go back. */
function hasten(): () => void {
  const { setInterval } = globalThis;
  const hastened = (act: () => void, ms?: number) => setInterval(act, ms === HOUR ? 100 : ms);
  globalThis.setInterval = hastened as typeof setInterval;
  return () => void (globalThis.setInterval = setInterval);
}

/** Makes the key in this folder so old that it is due in a moment. Answers the key. */
async function age(state: string): Promise<Uint8Array> {
  const file = `${state}/ticket.key`;
  const key = await Deno.readFile(file);
  const madeAt = Date.now() - TICKET_KEY_LIFETIME_MS + DUE_MS;
  new DataView(key.buffer).setBigUint64(1, BigInt(madeAt));
  await Deno.writeFile(file, key);
  return key.slice(9);
}

const ROWS = [
  { role: "connector", refused: { relay: "accepted", tunnel: "refused" } },
  { role: "relay", refused: { relay: "refused", tunnel: "accepted" } },
] as const;

for (const { role, refused } of ROWS) {
  Deno.test(`a ${role} changes its ticket key while it runs, and nobody sees it`, async () => {
    const goBack = hasten();
    try {
      await using scene = await EarlyScene.afterFirstVisit();
      const { state } = scene[role];
      await scene[role].stop();
      const old = await age(state);
      if (role === "relay") await scene.startRelay();
      else await scene.startConnector();
      await eventually("a new key", async () => {
        const key = (await Deno.readFile(`${state}/ticket.key`)).slice(9);
        return key.some((byte, i) => byte !== old[i]) || undefined;
      }, { everyMs: 50, withinMs: 20_000 });
      // It is read a moment after it is written.
      await scene.settle();
      const accepted = { relay: "accepted", tunnel: "accepted" };
      for (const early of [refused, accepted]) {
        await scene.comeBack();
        assert.deepEqual(await scene.early(), early);
        await scene.ask();
        await scene.agent.stop();
        await scene.agentGone();
      }
    } finally {
      goBack();
    }
  });
}
