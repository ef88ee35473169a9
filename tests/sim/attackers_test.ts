/**
 * Forged, replayed and reflected packets: a path that the other end did not prove is never used.
 */
import assert from "node:assert/strict";
import { type Address, addressOf } from "../../src/core/address.ts";
import { ProbeCodec } from "../../src/path/mod.ts";
import { quickMac } from "./quick_mac.ts";
import { linkOf, Site } from "./network.ts";
import { attempt, createWorld, type World } from "./world.ts";

const SEEDS = 40;
const MALLORY = "203.0.113.66";

interface Attacked {
  readonly world: World;
  readonly mallory: Site;
  /** Sends from the attacker's own address. */
  send(to: Address, datagram: Uint8Array, port?: number): void;
  /** Datagrams that arrived at the attacker. */
  readonly got: Uint8Array[];
}

function attacked(seed: number): Attacked {
  // Open networks: whatever the attacker sends arrives.
  const world = createWorld({ seed, agent: "none", connector: "none" });
  const mallory = new Site("mallory", { v4: [], link: linkOf({ delay: 1 }) });
  world.network.own(MALLORY, mallory);
  const got: Uint8Array[] = [];
  for (const port of [666, 667, 668]) {
    mallory.listeners.set(`${MALLORY}:${port}`, (datagram) => got.push(datagram));
  }
  const send = (to: Address, datagram: Uint8Array, port = 666) =>
    world.network.send(mallory, { from: addressOf(MALLORY, port), to, datagram });
  return { world, mallory, send, got };
}

function provenHosts(world: World): Set<string> {
  return new Set([world.agent, world.connector]
    .flatMap(({ proven }) => proven.map(({ path }) => path.remote.host)));
}

function eachSeed(check: (attack: Attacked, seed: number) => void): void {
  for (let seed = 1; seed <= SEEDS; seed++) {
    try {
      check(attacked(seed), seed);
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
}

Deno.test("captured probes and replies replayed from elsewhere validate nothing", () => {
  eachSeed(({ world, send }) => {
    const { network } = world;
    network.tap = (from, to, datagram) => {
      if (from.host === MALLORY || to.host === MALLORY) return;
      if (datagram[0] !== 0x05 && datagram[0] !== 0x06) return;
      // At once, later, and faster than the original.
      send(to, datagram, 666);
      network.scheduler.after(50, () => send(to, datagram, 667));
      send(from, datagram, 668);
    };
    assert.ok(attempt(world, { limit: 6000 }).direct);
    network.scheduler.run(60_000);
    assert.ok(!provenHosts(world).has(MALLORY));
    assert.notEqual(world.agent.path?.remote.host, MALLORY);
  });
});

Deno.test("probes sealed with a guessed key are neither answered nor believed", () => {
  eachSeed(({ world, send, got }, seed) => {
    attempt(world, { limit: 1000 });
    const forged = new ProbeCodec({
      role: "connector",
      tunnelId: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8),
      key: new Uint8Array(16).fill(100 + seed),
      mac: quickMac,
    });
    const to = addressOf("198.51.100.21", 51_001);
    for (let i = 0; i < 200; i++) {
      send(to, forged.probe(i.toString(16).padStart(16, "0"), { size: 1200, probeBack: true }));
    }
    world.network.scheduler.run(10_000);
    assert.equal(got.length, 0);
    assert.ok(!provenHosts(world).has(MALLORY));
  });
});

Deno.test("probes reflected to their sender validate nothing", () => {
  eachSeed(({ world, mallory }) => {
    const { network } = world;
    // The agent is told of the attacker's address (the peer is honest, but its offer was made from a spoiled observation).
    const address = addressOf(MALLORY, 666);
    mallory.listeners.set(address.key, (datagram, from) => {
      network.send(mallory, { from: address, to: from, datagram });
    });
    network.scheduler.run(1500);
    const offer = {
      generation: 1000,
      candidates: [{ kind: "observed", address }] as const,
      mapping: {},
    };
    world.agent.tell({ type: "remote", offer });
    network.scheduler.run(30_000);
    assert.equal(world.agent.path, undefined);
    assert.equal(world.agent.proven.length, 0);
  });
});

Deno.test("random bytes with our first bytes change nothing and are not answered", () => {
  eachSeed(({ world, send, got }) => {
    const { network, agent } = world;
    assert.ok(attempt(world, { limit: 6000 }).direct);
    const before = agent.path;
    for (let i = 0; i < 500; i++) {
      const datagram = network.random.bytes(network.random.between(1, 100));
      datagram[0] = network.random.between(3, 6);
      send(addressOf("198.51.100.21", 51_001), datagram);
    }
    network.scheduler.run(5000);
    assert.equal(got.length, 0);
    assert.equal(agent.path, before);
  });
});

Deno.test("a flood of replayed probes gets no more bytes than it sends", () => {
  eachSeed(({ world, send, got }) => {
    const { network } = world;
    const captured: Uint8Array[] = [];
    network.tap = (_from, to, datagram) => {
      if (datagram[0] === 0x05 && to.host === "198.51.100.21") captured.push(datagram);
    };
    attempt(world, { limit: 1000 });
    network.tap = undefined;
    let sent = 0;
    for (let i = 0; i < 2000; i++) {
      const datagram = captured[i % captured.length]!;
      sent += datagram.length;
      send(addressOf("198.51.100.21", 51_001), datagram);
    }
    network.scheduler.run(5000);
    const back = got.reduce((sum, { length }) => sum + length, 0);
    assert.ok(back <= sent, `${back} bytes for ${sent}`);
    assert.ok(!provenHosts(world).has(MALLORY));
  });
});
