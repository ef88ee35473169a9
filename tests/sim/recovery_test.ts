/**
 * Paths die and come back: fail-over under traffic, return, long outages, rebinding NATs, roaming.
 */
import assert from "node:assert/strict";
import type { Nat } from "./nat.ts";
import { attempt, createWorld, type World, type WorldOptions } from "./world.ts";

const SEEDS = 40;

/** A direct tunnel under traffic. */
function direct(options: Omit<WorldOptions, "agent" | "connector"> & Partial<WorldOptions>): World {
  const world = createWorld({ agent: "port-restricted", connector: "port-restricted", ...options });
  assert.ok(attempt(world, { limit: 6000 }).direct);
  return world;
}

function eachSeed(check: (seed: number) => void, seeds = SEEDS): void {
  for (let seed = 1; seed <= seeds; seed++) {
    try {
      check(seed);
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
}

function run(world: World, millis: number): void {
  world.network.scheduler.run(millis);
}

/** Kills packets between the two sites only: the relay stays reachable. */
function cutDirect(world: World): () => void {
  const { network, sites } = world;
  const tap = network.inject;
  network.inject = function (site, packet) {
    const between = [sites.agent, sites.connector].includes(site) &&
      !world.relay.targets.some(({ host }) => host === packet.to.host);
    if (between) return;
    tap.call(network, site, packet);
  };
  return () => {
    network.inject = tap;
  };
}

function longestGap(world: World, from: number): number {
  let last = from;
  let longest = 0;
  for (const { at } of world.agent.arrivals) {
    if (at < from) continue;
    longest = Math.max(longest, at - last);
    last = at;
  }
  return longest;
}

function percentile(values: number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * share)]!;
}

Deno.test("a direct path cut under traffic is left within a second, and taken back within two", () => {
  const gaps: number[] = [];
  const returns: number[] = [];
  eachSeed((seed) => {
    const world = direct({ seed, link: { loss: 0.005, jitter: 3 } });
    const { scheduler } = world.network;
    world.agent.talk({ every: 10, until: scheduler.now() + 60_000 });
    run(world, 5000 + seed * 13);
    const cutAt = scheduler.now();
    const heal = cutDirect(world);
    run(world, 10_000);
    assert.equal(world.agent.path, undefined);
    gaps.push(longestGap(world, cutAt));
    const healedAt = scheduler.now();
    heal();
    assert.ok(scheduler.run(10_000, () => world.agent.path !== undefined));
    returns.push(scheduler.now() - healedAt);
  });
  assert.ok(percentile(gaps, 0.95) <= 1000, `p95 of gaps ${percentile(gaps, 0.95)} ms`);
  assert.ok(percentile(returns, 0.95) <= 2000, `p95 of returns ${percentile(returns, 0.95)} ms`);
});

Deno.test("an idle direct path that died is left soon after traffic begins", () => {
  eachSeed((seed) => {
    const world = direct({ seed });
    run(world, 20_000);
    cutDirect(world);
    run(world, 3000);
    const began = world.network.scheduler.now();
    world.agent.talk({ every: 10, until: began + 5000 });
    run(world, 3000);
    assert.equal(world.agent.path, undefined);
    assert.ok(longestGap(world, began) <= 1000, `${longestGap(world, began)} ms without an answer`);
  });
});

Deno.test("a lossy path under traffic is not taken for a dead one", () => {
  let left = 0;
  eachSeed((seed) => {
    const world = direct({ seed, link: { loss: 0.03, jitter: 10 } });
    const before = world.agent.happenings.length;
    world.agent.talk({ every: 10, until: world.network.scheduler.now() + 30_000 });
    run(world, 30_000);
    const later = world.agent.happenings.slice(before);
    left += later.filter(({ what, path }) => what === "use" && path === undefined).length;
  });
  // 40 seeds of half a minute.
  assert.ok(left <= 1, `left ${left} times in 20 minutes`);
});

Deno.test("an idle tunnel's path is kept alive for ten minutes, at the NAT's pace", () => {
  eachSeed((seed) => {
    const world = direct({ seed });
    run(world, 10_000);
    world.network.sent.clear();
    run(world, 600_000);
    assert.ok(world.agent.path);
    const mine = world.agent.happenings.filter(({ what }) => what === "use");
    assert.equal(mine.length, 1);
    // A keep-alive of the path, one of the observation, and their answers: four packets in 20 to 25 s; two families' worth.
    const { packets } = world.network.sent.get("agent")!;
    assert.ok(packets <= 240, `${packets} packets in ten minutes`);
  }, 10);
});

Deno.test("a relayed idle tunnel between hopeless networks sends little, for ever", () => {
  eachSeed((seed) => {
    const world = createWorld({ seed, agent: "symmetric", connector: "symmetric" });
    attempt(world, { limit: 60_000 });
    world.network.sent.clear();
    run(world, 3_600_000);
    const { packets } = world.network.sent.get("agent")!;
    assert.ok(packets > 100 && packets <= 1500, `${packets} packets in an hour`);
  }, 5);
});

for (const where of ["agent", "connector", "relay"] as const) {
  Deno.test(`after ${where}'s link is down for twenty minutes the tunnel is direct by itself`, () => {
    eachSeed((seed) => {
      const world = direct({ seed, v6: seed % 2 ? "off" : "firewall" });
      const { scheduler } = world.network;
      const link = where === "relay" ? world.relay.site.link : world.sites[where].link;
      link.down = true;
      run(world, 1_200_000);
      if (where === "relay") assert.ok(world.agent.path, "a direct tunnel needs no relay");
      link.down = false;
      world.agent.talk({ every: 10, until: scheduler.now() + 30_000 });
      assert.ok(scheduler.run(8000, () => world.agent.path !== undefined), "direct within 8 s");
      run(world, 3000);
      assert.ok(world.agent.arrivals.at(-1)!.direct);
    }, 10);
  });
}

for (const end of ["agent", "connector"] as const) {
  Deno.test(`traffic goes on within 300 ms when the ${end}'s NAT rebinds`, () => {
    const gaps: number[] = [];
    const returns: number[] = [];
    eachSeed((seed) => {
      const world = direct({ seed });
      const { scheduler } = world.network;
      world.agent.talk({ every: 10, until: scheduler.now() + 40_000 });
      run(world, 2000);
      const at = scheduler.now();
      (world.sites[end].boxes.v4![0] as Nat).reset();
      run(world, 1000);
      gaps.push(longestGap(world, at));
      assert.ok(scheduler.run(30_000, () => world.agent.path !== undefined), "direct again");
      returns.push(scheduler.now() - at);
    });
    assert.ok(percentile(gaps, 0.95) <= 300, `p95 of gaps ${percentile(gaps, 0.95)} ms`);
    assert.ok(percentile(returns, 0.95) <= 2000, `p95 of returns ${percentile(returns, 0.95)} ms`);
  });
}

Deno.test("an agent that roams from IPv4 to an IPv6-only network is direct again within two seconds", () => {
  eachSeed((seed) => {
    const world = direct({ seed, v6: { agent: "off", connector: "firewall" } });
    const { scheduler } = world.network;
    world.agent.talk({ every: 10, until: scheduler.now() + 30_000 });
    run(world, 1000);
    world.sites.agent.boxes = { v4: undefined, v6: [] };
    world.agent.changeNetwork(["2001:db8:21::77"]);
    world.network.own("2001:db8:21::77", world.sites.agent);
    const v6 = () => world.agent.path?.remote.family === 6;
    assert.ok(scheduler.run(2000, v6), "direct over IPv6");
  });
});

Deno.test("a better path that appears is taken: IPv6 comes up while both ends were relayed", () => {
  eachSeed((seed) => {
    const world = createWorld({
      seed,
      agent: "symmetric",
      connector: "symmetric",
      v6: { agent: "off", connector: "open" },
    });
    assert.equal(attempt(world, { limit: 20_000 }).direct, false);
    world.sites.agent.boxes.v6 = [];
    world.agent.changeNetwork(["192.168.21.21", "2001:db8:21::2"]);
    assert.ok(world.network.scheduler.run(2000, () => world.agent.path?.remote.family === 6));
  });
});

Deno.test("packets shrink when the path begins to drop large ones, and grow again later", () => {
  eachSeed((seed) => {
    const world = direct({ seed });
    const { scheduler } = world.network;
    world.agent.talk({ every: 10, until: scheduler.now() + 800_000 });
    run(world, 3000);
    assert.equal(world.agent.mtu, 1472);
    world.sites.connector.link.mtu = 1300;
    assert.ok(scheduler.run(4000, () => world.agent.mtu <= 1300), "shrunk within 4 s");
    run(world, 5000);
    assert.equal(world.agent.mtu, 1280);
    world.sites.connector.link.mtu = 1472;
    run(world, 700_000);
    assert.equal(world.agent.mtu, 1472);
  }, 5);
});

Deno.test("a path that stops carrying full-size packets is left though small ones pass", () => {
  eachSeed((seed) => {
    const world = direct({ seed });
    const { scheduler } = world.network;
    world.agent.talk({ every: 10, until: scheduler.now() + 30_000 });
    run(world, 3000);
    world.sites.connector.link.mtu = 1000;
    assert.ok(scheduler.run(6000, () => world.agent.path === undefined), "left within 6 s");
    run(world, 10_000);
    assert.equal(world.agent.path, undefined);
  }, 5);
});
