/**
 * A service that wants nothing early: its connector opens no flow to it before the handshake is over, whatever the agent sends,
 * and an agent that knows of it sends none.
 * @module
 */
import assert from "node:assert/strict";
import { EarlyScene } from "./early_scene.ts";
import { eventually } from "./scene.ts";

/** Past the relay the handshake would end unheld. */
const RELAYED = { noDirect: true };
const OPTED_OUT = { ...RELAYED, noEarlyDataFor: ["web"] };
/** Far longer than a flight takes to be read here. */
const MOMENT_MS = 500;

async function play(scene: EarlyScene, act: () => Promise<void>): Promise<void> {
  try {
    await act();
  } catch (error) {
    console.error(scene.stage.logs());
    throw error;
  }
}

/** The agent's first flight arrives, and nothing behind it; answers how often the service was called by it. */
async function firstFlightOnly(scene: EarlyScene): Promise<number> {
  const before = scene.dials;
  const { answered } = await scene.askHeld(RELAYED);
  await scene.tap.releaseFirst();
  await eventually("the flight at the connector", async () => {
    const { connector } = await scene.counts();
    return connector.accepted > 0 || undefined;
  }, { everyMs: 20, withinMs: 10_000 });
  await new Promise((resolve) => setTimeout(resolve, MOMENT_MS));
  const early = scene.dials - before;
  await scene.tap.release();
  await answered;
  return early;
}

Deno.test("a first flight's flow reaches its service before the handshake is over", async () => {
  await using scene = await EarlyScene.afterFirstVisit(RELAYED, RELAYED);
  await play(scene, async () => {
    assert.ok(await firstFlightOnly(scene) > 0);
  });
});

Deno.test("a service that opts out is called when the handshake is over, though the agent does not know", async () => {
  await using scene = await EarlyScene.afterFirstVisit(RELAYED, RELAYED);
  await play(scene, async () => {
    await scene.connector.stop();
    await scene.startConnector(OPTED_OUT);
    await scene.settle();
    assert.equal(await firstFlightOnly(scene), 0);
    assert.match(scene.connector.text, /early flow waits for the handshake/);
    assert.deepEqual(await scene.early(), { relay: "accepted", tunnel: "accepted" });
    await scene.ask();
  });
});

Deno.test("an agent that knows of an opt-out opens the tunnel early, and flows to that service behind it", async () => {
  await using scene = await EarlyScene.afterFirstVisit(RELAYED, OPTED_OUT);
  await play(scene, async () => {
    assert.equal(await firstFlightOnly(scene), 0);
    assert.doesNotMatch(scene.connector.text, /early flow waits for the handshake/);
    assert.deepEqual(await scene.early(), { relay: "accepted", tunnel: "accepted" });
    await scene.ask();
  });
});

Deno.test("a connector that is started again without words remembers who opted out", async () => {
  await using scene = await EarlyScene.afterFirstVisit(RELAYED, OPTED_OUT);
  await play(scene, async () => {
    await scene.connector.stop();
    await scene.startConnector({ ...RELAYED, services: [] });
    await scene.settle();
    assert.equal(await firstFlightOnly(scene), 0);
  });
});
