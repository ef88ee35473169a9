import assert from "node:assert/strict";
import { addressOf } from "../../src/core/mod.ts";
import { PathLoss } from "../../src/tunnel/path_loss.ts";
import { RELAYED_CONNECTOR } from "../../src/tunnel/sealed.ts";
import type { Tunnel } from "../../src/tunnel/tunnel.ts";

const DIRECT = addressOf("198.51.100.22", 5000);

/** An end of a tunnel on a direct path, and what is done with it in order. */
function createRig(end: "agent" | "connector") {
  const done: string[] = [];
  const connection = {
    peer: DIRECT,
    packetsIn: 0,
    closed: false,
    leftPathDied: () => done.push("died"),
    hurry: () => done.push("hurry"),
  };
  const egress = {
    repeatRelayed: () => done.push("repeat"),
    restartFlight: () => done.push("keep"),
    resendFlight: () => done.push("again"),
    dropFlight: () => done.push("forget"),
    copyRelayed: () => false,
    copyLastRelayed: () => {},
    sendSealed: () => {},
  };
  const tunnel = { end, connection, egress } as unknown as Tunnel;
  const loss = new PathLoss(tunnel, (packet) => done.push(`deliver ${packet[0]}`));
  return { loss, done, connection };
}

Deno.test("PathLoss.keeps() does keep what comes around a silent path until the agent has moved, and delivers it then", () => {
  const { loss, done } = createRig("agent");
  assert.equal(loss.keeps(Uint8Array.of(1)), false);
  loss.silent(60);
  const reused = Uint8Array.of(2);
  assert.ok(loss.keeps(reused));
  reused[0] = 0;
  assert.ok(loss.keeps(Uint8Array.of(3)));
  loss.urgent = true;
  loss.moved(RELAYED_CONNECTOR);
  // Acknowledged in the first packet: before everything else that goes there.
  assert.deepEqual(done, ["deliver 2", "deliver 3", "keep", "died", "hurry", "repeat"]);
  loss.stop();
});

Deno.test("PathLoss.keeps() does deliver when the path is heard again", () => {
  const { loss, done } = createRig("agent");
  loss.silent(60);
  assert.ok(loss.keeps(Uint8Array.of(1)));
  loss.heard();
  assert.deepEqual(done, ["deliver 1"]);
  assert.equal(loss.keeps(Uint8Array.of(2)), false);
});

Deno.test("PathLoss.keeps() does not keep much, nor at a connector, nor on the relayed path", () => {
  const { loss, done, connection } = createRig("agent");
  loss.silent(60);
  let kept = 0;
  while (loss.keeps(Uint8Array.of(kept)) && kept < 1000) kept++;
  assert.ok(kept <= 32, `${kept}`);
  assert.equal(done.length, kept);
  loss.silent(60);
  connection.peer = RELAYED_CONNECTOR;
  assert.equal(loss.keeps(Uint8Array.of(1)), false);
  const other = createRig("connector");
  other.loss.silent(60);
  assert.equal(other.loss.keeps(Uint8Array.of(1)), false);
  other.loss.stop();
});

Deno.test("PathLoss.moved() does send the first packets again while nothing comes, a few times", async () => {
  for (const heard of [false, true]) {
    const { loss, done, connection } = createRig("agent");
    loss.urgent = true;
    connection.peer = RELAYED_CONNECTOR;
    loss.moved(RELAYED_CONNECTOR);
    if (heard) connection.packetsIn++;
    await new Promise((resolve) => setTimeout(resolve, 150));
    const after = done.slice(done.indexOf("repeat") + 1);
    assert.deepEqual(after, heard ? ["forget"] : ["again", "again", "again", "forget"]);
    loss.stop();
  }
});
