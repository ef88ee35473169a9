/**
 * Coming back with 0-RTT: it works at both layers, nobody sees it where it is refused, and a flight that somebody has
 * recorded does nothing a second time.
 * @module
 */
import assert from "node:assert/strict";
import type { RelayStatus } from "../../src/roles/status.ts";
import { NEWCOMER_LIMITS } from "../../src/quic/mod.ts";
import { EarlyScene } from "./early_scene.ts";
import { firstPacket } from "./first_packet.ts";
import type { HeldDatagram } from "./wire_tap.ts";

const HOUR = 3_600_000;

/** A test's clock, off by so much. */
function clockOff(ms: number) {
  return { now: () => performance.now(), unix: () => Date.now() + ms };
}

async function play(scene: EarlyScene, act: () => Promise<void>): Promise<void> {
  try {
    await act();
  } catch (error) {
    console.error(scene.stage.logs());
    throw error;
  }
}

for (
  const [what, clock] of [
    ["", undefined],
    [" by a clock that is an hour ahead", clockOff(HOUR)],
    [" by a clock that is an hour behind", clockOff(-HOUR)],
  ] as const
) {
  Deno.test(`an agent comes back with early data at the relay and in the tunnel${what}`, async () => {
    const more = clock ? { clock } : {};
    await using scene = await EarlyScene.afterFirstVisit(more);
    await play(scene, async () => {
      await scene.comeBack(more);
      assert.deepEqual(await scene.early(), { relay: "accepted", tunnel: "accepted" });
      const { relay, connector } = await scene.counts();
      assert.equal(relay.accepted, 1);
      assert.equal(connector.accepted, 1);
      await scene.ask();
    });
  });
}

Deno.test("a connector and an agent come back early to a relay that was restarted", async () => {
  await using scene = await EarlyScene.afterFirstVisit();
  await play(scene, async () => {
    await scene.connector.stop();
    await scene.relay.stop();
    await scene.startRelay();
    await scene.startConnector();
    const status = await scene.connector.status();
    assert.ok(status.role === "connector");
    assert.equal(status.relay.earlyData, "accepted");
    await scene.comeBack();
    assert.deepEqual(await scene.early(), { relay: "accepted", tunnel: "accepted" });
  });
});

Deno.test("an agent comes back early, for one round trip more, to a relay that asks everybody where they are", async () => {
  await using scene = await EarlyScene.afterFirstVisit();
  await play(scene, async () => {
    const to = { transport: "udp", hostname: "127.0.0.1", port: scene.stage.port } as const;
    const stranger = Deno.listenDatagram({ ...to, port: 0 });
    for (let i = 0; i < NEWCOMER_LIMITS.freely + 10; i++) await stranger.send(firstPacket(), to);
    const [answer] = await stranger.receive();
    stranger.close();
    assert.equal(answer[0]! & 0xf0, 0xf0, "a Retry");
    await scene.comeBack();
    assert.deepEqual(await scene.early(), { relay: "accepted", tunnel: "accepted" });
    await scene.ask();
  });
});

/** What may have happened while the agent was away, and what it then says of its early data. */
const REFUSALS: readonly {
  readonly name: string;
  readonly happen: (scene: EarlyScene) => Promise<unknown>;
  readonly relay: string;
  readonly tunnel: string;
  readonly agent?: { noEarlyData: boolean };
}[] = [
  {
    name: "the connector has a new ticket key",
    happen: async (scene) => {
      await scene.connector.stop();
      await Deno.remove(`${scene.connector.state}/ticket.key`);
      await scene.startConnector();
    },
    relay: "accepted",
    tunnel: "refused",
  },
  {
    name: "the relay has a new ticket key",
    happen: async (scene) => {
      await scene.relay.stop();
      await Deno.remove(`${scene.relay.state}/ticket.key`);
      await scene.startRelay();
      await scene.connector.logs(/connected to relay[^]*connected to relay/);
    },
    relay: "refused",
    tunnel: "accepted",
  },
  {
    name: "the tickets are damaged",
    happen: (scene) => Deno.writeTextFile(`${scene.agent.state}/tickets.json`, '{"version":1,'),
    relay: "none",
    tunnel: "none",
  },
  {
    name: "the relay takes no early data",
    happen: async (scene) => {
      await scene.relay.stop();
      await scene.startRelay({ noEarlyData: true });
      await scene.connector.logs(/connected to relay[^]*connected to relay/);
    },
    relay: "refused",
    tunnel: "accepted",
  },
  {
    name: "the connector takes no early data",
    happen: async (scene) => {
      await scene.connector.stop();
      await scene.startConnector({ noEarlyData: true });
    },
    relay: "accepted",
    tunnel: "refused",
  },
  {
    name: "the agent is told to send none",
    happen: () => Promise.resolve(),
    relay: "none",
    tunnel: "none",
    agent: { noEarlyData: true },
  },
];

for (const { name, happen, relay, tunnel, agent } of REFUSALS) {
  Deno.test(`an application sees nothing of refused early data where ${name}`, async () => {
    await using scene = await EarlyScene.afterFirstVisit();
    await play(scene, async () => {
      await happen(scene);
      const before = scene.dials;
      await scene.comeBack(agent);
      assert.deepEqual(await scene.early(), { relay, tunnel });
      // The look at the port, and the question: each once.
      assert.ok(scene.dials - before <= 2, `${scene.dials - before} connections`);
      await scene.ask();
      if (name.includes("damaged")) {
        assert.match(scene.agent.text, /warn set the tickets aside/);
        await Deno.stat(`${scene.agent.state}/tickets.json.damaged`);
      }
    });
  });
}

/** Sends a flight this often, half from its own address and half from others; waits until all of it was looked at. */
async function replay(scene: EarlyScene, flight: readonly HeldDatagram[]): Promise<void> {
  const others = Array.from(
    { length: 20 },
    (_, i) => Deno.listenDatagram({ transport: "udp", hostname: `127.0.0.${2 + i}`, port: 0 }),
  );
  for (let i = 0; i < 1000; i++) {
    await scene.tap.sendAgain(flight, i % 2 === 0 ? undefined : others[(i >> 1) % others.length]);
    if (i % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await new Promise((resolve) => setTimeout(resolve, 300));
  for (const socket of others) socket.close();
}

/** What must not change, however often a flight comes again. */
async function standing(scene: EarlyScene) {
  const relay = await scene.relay.status() as RelayStatus;
  return {
    dials: scene.dials,
    clients: relay.clients.map(({ name }) => name),
    tunnels: relay.tunnels.length,
    connectorAccepted: (await scene.counts()).connector.accepted,
    relayAccepted: relay.early.accepted,
  };
}

/** What happens between the flight and its repetition. */
const MOMENTS: readonly {
  readonly name: string;
  readonly happen: (scene: EarlyScene) => Promise<unknown>;
  readonly counted: "seen" | "beforeStart" | "stale" | undefined;
}[] = [
  // The engine knows the connection and takes the packets for duplicates.
  { name: "while the agent is there", happen: () => Promise.resolve(), counted: undefined },
  { name: "when the agent has gone", happen: (scene) => scene.agent.stop(), counted: "seen" },
  {
    name: "when the relay was restarted in good order",
    happen: async (scene) => {
      await scene.agent.stop();
      await scene.relay.stop();
      await scene.startRelay();
      await scene.connector.logs(/connected to relay[^]*connected to relay/);
    },
    counted: "beforeStart",
  },
  {
    name: "when the relay was killed and started again",
    happen: async (scene) => {
      await scene.agent.stop();
      await scene.relay.stop();
      // A process that is killed leaves no last word.
      await Deno.remove(`${scene.relay.state}/early.mark`);
      await scene.startRelay();
      await scene.connector.logs(/connected to relay[^]*connected to relay/);
    },
    counted: "beforeStart",
  },
  {
    name: "when the connector was restarted",
    happen: async (scene) => {
      await scene.agent.stop();
      await scene.connector.stop();
      await scene.startConnector();
    },
    counted: "seen",
  },
];

for (const { name, happen, counted } of MOMENTS) {
  Deno.test(`a first flight that comes 1,000 times again does nothing ${name}`, async () => {
    await using scene = await EarlyScene.afterFirstVisit();
    await play(scene, async () => {
      const flight = await scene.comeBack();
      assert.ok(flight.length >= 6, `${flight.length} datagrams`);
      assert.deepEqual(await scene.early(), { relay: "accepted", tunnel: "accepted" });
      await happen(scene);
      if (scene.agent.ended) await scene.agentGone();
      const before = await standing(scene);
      const countsBefore = (await scene.counts()).relay;
      await replay(scene, flight);
      assert.deepEqual(await standing(scene), before);
      if (counted) {
        const counts = (await scene.counts()).relay;
        assert.ok(counts[counted] > countsBefore[counted], JSON.stringify(counts));
      }
      // Whoever is honest is served all the while.
      if (!scene.agent.ended) await scene.ask();
      else await scene.comeBack();
    });
  });
}

Deno.test("a revoked agent gets nothing early, however good its ticket", async () => {
  await using scene = await EarlyScene.afterFirstVisit();
  await play(scene, async () => {
    await scene.stage.change((store) =>
      store.revoke("agent", "alice" as never, { by: "test", now: Date.now() } as never)
    );
    const before = scene.dials;
    await assert.rejects(scene.comeBack());
    assert.equal(scene.dials, before);
    assert.equal((await scene.counts()).relay.accepted, 0);
    assert.match(scene.relay.text, /client refused .*revoked/);
  });
});

Deno.test("an agent whose certificate has expired gets nothing early, however good its ticket", async () => {
  await using scene = await EarlyScene.afterFirstVisit();
  await play(scene, async () => {
    await scene.relay.stop();
    // Certificates are good for seven days. The ticket key is made to look younger than it is.
    const later = 7 * 24 * HOUR + HOUR;
    const file = `${scene.relay.state}/ticket.key`;
    const key = await Deno.readFile(file);
    new DataView(key.buffer).setBigUint64(1, BigInt(Date.now() + later));
    await Deno.writeFile(file, key);
    await scene.startRelay({ clock: clockOff(later) });
    const before = scene.dials;
    await assert.rejects(scene.comeBack());
    assert.equal(scene.dials, before);
    assert.equal((await scene.counts()).relay.accepted, 0);
    assert.match(scene.relay.text, /client refused .*expired/);
  });
});
