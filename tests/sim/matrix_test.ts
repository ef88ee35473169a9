/**
 * Every NAT against every NAT, with and without IPv6, many seeds each: who becomes direct, how soon, with how many packets.
 */
import assert from "node:assert/strict";
import { BASE_MTU } from "../../src/path/mod.ts";
import { attempt, createWorld, NAT_KINDS, type NatKind, type WorldOptions } from "./world.ts";

const DIRECT_RTT_MS = 40;
const SEEDS = 15;

/** What IPv4 alone comes to. */
function expected(agent: NatKind, connector: NatKind): "direct" | "guessed" | "relayed" {
  const pair = [agent, connector];
  if (pair.includes("blocked")) return "relayed";
  if (agent === "symmetric" && connector === "symmetric") return "relayed";
  const strict = pair.some((kind) => kind === "port-restricted" || kind === "cgnat");
  return pair.includes("symmetric") && strict ? "guessed" : "direct";
}

function withSeeds(
  options: Omit<WorldOptions, "seed">,
  seeds: number,
  check: (run: ReturnType<typeof go>) => void,
) {
  for (let seed = 1; seed <= seeds; seed++) {
    try {
      check(go({ ...options, seed }));
    } catch (error) {
      throw new Error(`seed ${seed} of ${JSON.stringify(options)}`, { cause: error });
    }
  }
}

function go(options: WorldOptions, limit = 6000) {
  const world = createWorld(options);
  return { world, result: attempt(world, { limit }) };
}

/** A clean network adds no loss: the only waiting is that of the second end to be told. */
const TWO_ROUND_TRIPS = 2 * DIRECT_RTT_MS;
/** Probes of a handful of pairs for one active phase, with observations and path validation. */
const SIMPLE_PACKETS = 100;
/** Both sides of a guess (see port_guess.ts), and the same. */
const GUESS_PACKETS = 2048 + 768 + SIMPLE_PACKETS;

for (const agent of NAT_KINDS) {
  for (const connector of NAT_KINDS) {
    const outcome = expected(agent, connector);
    Deno.test(`${agent} x ${connector} over IPv4 is ${outcome}`, () => {
      let missed = 0;
      withSeeds(
        { agent, connector },
        outcome === "guessed" ? SEEDS * 2 : SEEDS,
        ({ world, result }) => {
          if (outcome === "direct") {
            assert.ok(result.direct);
            assert.ok(
              result.provenAfter! <= TWO_ROUND_TRIPS,
              `proven after ${result.provenAfter} ms`,
            );
            assert.ok(result.packets <= SIMPLE_PACKETS, `${result.packets} packets`);
          } else if (outcome === "guessed") {
            if (!result.direct) missed++;
            else assert.ok(result.directAfter! <= 2000, `direct after ${result.directAfter} ms`);
            assert.ok(result.packets <= GUESS_PACKETS, `${result.packets} packets`);
            assert.ok(world.agent.mostSockets <= 256 && world.connector.mostSockets <= 256);
          } else {
            assert.equal(result.direct, false);
            assert.ok(result.packets <= SIMPLE_PACKETS, `${result.packets} packets`);
            const why = agent === "symmetric" && connector === "symmetric"
              ? "both-dependent"
              : "no-answer";
            assert.equal(world.agent.outcomes.get(4), why);
            assert.equal(world.connector.outcomes.get(4), why);
          }
        },
      );
      assert.equal(missed, 0, `${missed} guesses of ${SEEDS * 2} missed`);
    });

    Deno.test(`${agent} x ${connector} with firewalled IPv6 is direct within two round trips`, () => {
      withSeeds({ agent, connector, v6: "firewall" }, SEEDS, ({ result }) => {
        assert.ok(result.direct);
        assert.ok(result.provenAfter! <= TWO_ROUND_TRIPS, `proven after ${result.provenAfter} ms`);
        assert.ok(result.packets <= SIMPLE_PACKETS, `${result.packets} packets`);
      });
    });

    if (outcome !== "direct") continue;
    for (const broken of ["agent", "connector", "both"] as const) {
      Deno.test(`${agent} x ${connector} with IPv6 broken at ${broken} is delayed by nothing`, () => {
        const kind = (end: string) => broken === end || broken === "both" ? "broken" : "open";
        const v6 = { agent: kind("agent"), connector: kind("connector") } as const;
        for (let seed = 1; seed <= SEEDS; seed++) {
          const without = go({ agent, connector, seed }).result;
          const { world, result } = go({ agent, connector, v6, seed });
          const said =
            `seed ${seed}: ${result.provenAfter} ms, without IPv6 ${without.provenAfter} ms`;
          assert.ok(result.provenAfter! <= without.provenAfter!, said);
          assert.equal(world.agent.path?.remote.family, 4);
        }
      });
    }
  }
}

for (const ports of ["sequential", "preserve"] as const) {
  Deno.test(`port-restricted x symmetric with ${ports} ports becomes direct`, () => {
    withSeeds({ agent: "port-restricted", connector: "symmetric", ports }, SEEDS, ({ result }) => {
      assert.ok(result.direct);
      assert.ok(result.directAfter! <= 2000, `direct after ${result.directAfter} ms`);
    });
  });
}

Deno.test("guessing switched off leaves port-restricted x symmetric relayed, and says so", () => {
  const options = { agent: "port-restricted", connector: "symmetric", guessing: false } as const;
  withSeeds(options, SEEDS, ({ world, result }) => {
    assert.equal(result.direct, false);
    assert.equal(world.agent.outcomes.get(4), "guess-off");
    assert.ok(result.packets <= SIMPLE_PACKETS, `${result.packets} packets`);
    assert.equal(world.connector.mostSockets, 0);
  });
});

Deno.test("one LAN is direct by host addresses as soon as the connector knows the agent's", () => {
  const options = { agent: "port-restricted", connector: "port-restricted", oneLan: true } as const;
  withSeeds(options, SEEDS, ({ world, result }) => {
    // 40 ms is the offer's way over the relay; two round trips of 1 ms follow.
    assert.ok(result.sinceJoined! <= 43, `direct after ${result.sinceJoined} ms`);
    assert.equal(world.agent.path?.remote.host, "192.168.21.22");
  });
});

for (
  const [name, link] of Object.entries({
    "2 % loss on every link": { loss: 0.02 },
    "jitter that reorders": { jitter: 15 },
    "a tenth of packets twice": { duplicate: 0.1 },
    "all of these": { loss: 0.02, jitter: 15, duplicate: 0.1 },
  })
) {
  Deno.test(`port-restricted x port-restricted is direct soon under ${name}`, () => {
    const times: number[] = [];
    withSeeds(
      { agent: "port-restricted", connector: "port-restricted", link },
      300,
      ({ result }) => {
        assert.ok(result.direct);
        times.push(result.directAfter!);
      },
    );
    times.sort((a, b) => a - b);
    const p95 = times[Math.floor(times.length * 0.95)]!;
    // Path validation costs one more round trip, and 150 ms where its packet is lost.
    assert.ok(p95 <= 300, `p95 ${p95} ms`);
  });
}

Deno.test("a path that carries small packets only is never chosen", () => {
  const link = { mtu: BASE_MTU - 1 };
  withSeeds(
    { agent: "port-restricted", connector: "full-cone", link },
    SEEDS,
    ({ world, result }) => {
      assert.equal(result.direct, false);
      world.network.scheduler.run(60_000);
      assert.equal(world.agent.path, undefined);
    },
  );
});
