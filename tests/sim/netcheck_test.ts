/**
 * What the network check says of every kind of NAT.
 */
import assert from "node:assert/strict";
import { addressOf } from "../../src/core/address.ts";
import {
  Netcheck,
  type NetcheckInput,
  type NetcheckOutput,
  type NetcheckReport,
} from "../../src/path/mod.ts";
import { Driver } from "./driver.ts";
import { quickMac } from "./quick_mac.ts";
import { createWorld, NAT_KINDS, type NatKind, type V6Kind } from "./world.ts";

interface Options {
  readonly seed: number;
  readonly v6?: V6Kind;
  readonly loss?: number;
  /** Sizes to try, and the largest that the way out carries. */
  readonly sizes?: readonly number[];
  readonly carries?: number;
}

function check(agent: NatKind, options: Options) {
  const { seed, v6 = "firewall", loss = 0, sizes, carries = Infinity } = options;
  const world = createWorld({ seed, agent, connector: "none", v6, link: { loss } });
  const { network, relay, sites } = world;
  const v4Host = agent === "none" ? "198.51.100.21" : "192.168.21.99";
  const mine = [addressOf(v4Host, 40_000), addressOf("2001:db8:21::2", 40_000)];
  const reports = new Map<4 | 6, NetcheckReport>();
  const netcheck = new Netcheck({ mac: quickMac, random: network.random.bytes });
  const driver = new Driver<NetcheckInput, NetcheckOutput>(netcheck, {
    scheduler: network.scheduler,
    time: { type: "time" },
    carry: (out) => {
      if (out.type === "report") {
        assert.ok(!reports.has(out.report.family), "one report per family");
        reports.set(out.report.family, out.report);
        return;
      }
      if (out.datagram.length > carries) return;
      const from = mine.find(({ family }) => family === out.to.family)!;
      network.send(sites.agent, { from, to: out.to, datagram: out.datagram });
    },
  });
  for (const address of mine) {
    sites.agent.listeners.set(
      address.key,
      (datagram, from) => driver.tell({ type: "datagram", datagram, from }),
    );
  }
  const key = relay.keys.issue(network.random.bytes);
  const localHosts = mine.map(({ host }) => host);
  driver.tell({
    type: "start",
    targets: relay.targets,
    key,
    localHosts,
    ...(sizes && { sizes: { v4: sizes, v6: sizes } }),
  });
  network.scheduler.run(10_000);
  assert.equal(netcheck.deadline(), undefined);
  assert.equal(reports.size, 2);
  return { v4: reports.get(4)!, v6: reports.get(6)! };
}

const EXPECTED: Record<NatKind, Partial<NetcheckReport>> = {
  "none": {
    udp: "open",
    nat: false,
    mapping: "endpoint-independent",
    filtering: "endpoint-independent or address-dependent",
  },
  "full-cone": {
    udp: "open",
    nat: true,
    mapping: "endpoint-independent",
    filtering: "endpoint-independent or address-dependent",
  },
  "restricted": {
    udp: "open",
    nat: true,
    mapping: "endpoint-independent",
    filtering: "endpoint-independent or address-dependent",
  },
  "port-restricted": {
    udp: "open",
    nat: true,
    mapping: "endpoint-independent",
    filtering: "address-and-port-dependent",
  },
  "symmetric": {
    udp: "open",
    nat: true,
    mapping: "address-and-port-dependent",
    filtering: "address-and-port-dependent",
  },
  "cgnat": {
    udp: "open",
    nat: true,
    mapping: "endpoint-independent",
    filtering: "address-and-port-dependent",
  },
  "blocked": { udp: "blocked", observed: undefined as never, mapping: undefined as never },
};

for (const kind of NAT_KINDS) {
  Deno.test(`Netcheck does tell what ${kind} does`, () => {
    for (let seed = 1; seed <= 20; seed++) {
      const { v4, v6 } = check(kind, { seed });
      for (const [field, wanted] of Object.entries(EXPECTED[kind])) {
        assert.equal(v4[field as keyof NetcheckReport], wanted, `seed ${seed}: ${field}`);
      }
      assert.equal(v6.udp, "open");
      assert.equal(v6.nat, false);
      assert.equal(v6.filtering, "address-and-port-dependent");
      assert.equal(v6.rtt, 40);
    }
  });
}

Deno.test("Netcheck does tell the largest size that was answered, and none where it is not to try", () => {
  const sizes = [1_200, 8_952, 1_452, 1_472];
  for (const [carries, largest] of [[Infinity, 1_472], [1_460, 1_452], [1_200, 1_200]] as const) {
    const { v4, v6 } = check("symmetric", { seed: 1, sizes, carries });
    assert.equal(v4.largest, largest);
    assert.equal(v6.largest, largest);
    assert.equal(v4.mapping, "address-and-port-dependent");
  }
  assert.equal(check("symmetric", { seed: 1, sizes, carries: 1_100 }).v4.largest, undefined);
  assert.equal(check("symmetric", { seed: 1 }).v4.largest, undefined);
  const lossy = check("restricted", { seed: 1, sizes, carries: 1_460, loss: 0.2 });
  assert.ok((lossy.v4.largest ?? 0) <= 1_452);
});

Deno.test("Netcheck does call IPv6 that leads nowhere blocked, and IPv4 what it is", () => {
  const { v4, v6 } = check("restricted", { seed: 1, v6: "broken" });
  assert.deepEqual(v6, { family: 6, udp: "blocked" });
  assert.equal(v4.udp, "open");
});

Deno.test("Netcheck does come to the same under loss, nearly always", () => {
  let wrong = 0;
  for (let seed = 1; seed <= 200; seed++) {
    const { v4 } = check("restricted", { seed, loss: 0.05 });
    if (v4.filtering !== "endpoint-independent or address-dependent") wrong++;
    if (v4.mapping !== "endpoint-independent") wrong++;
  }
  assert.ok(wrong <= 2, `${wrong} of 400 findings wrong`);
});

Deno.test("Netcheck does say no behaviour with one port only, and nothing without targets", () => {
  const netcheck = new Netcheck({ mac: quickMac, random: (n) => new Uint8Array(n) });
  const key = { id: new Uint8Array(8), key: new Uint8Array(16) };
  netcheck.handle({ type: "start", targets: [], key, localHosts: [] }, 0);
  assert.equal(netcheck.deadline(), undefined);
  assert.equal(netcheck.poll(), undefined);
});
