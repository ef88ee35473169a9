import assert from "node:assert/strict";
import type { FlowEnd, Mux } from "../../src/mux/mod.ts";
import { FlowLedger } from "../../src/roles/flow_ledger.ts";
import type { Tunnel } from "../../src/tunnel/mod.ts";

/** What a ledger looks at in a tunnel. */
class FakeTunnel {
  path: "direct" | "relayed" = "relayed";
  isOpen = true;
  readonly udpDrops = { queue: 0, backlog: 0, waiting: 0, unknown: 0 };
  readonly mux: Pick<Mux, "onFlowEnd" | "udpDrops"> & { flows: Map<number, FlowEnd> } = {
    flows: new Map(),
    onFlowEnd: undefined,
    udpDrops: this.udpDrops,
  };
  readonly listeners = new Set<() => void>();
  readonly direct = {
    onChange: (listener: () => void) => {
      this.listeners.add(listener);
      return () => this.listeners.delete(listener);
    },
  };

  flow(service: string, carried = true) {
    const stream = { bytesIn: 0, bytesOut: 0 };
    const flow = {
      info: { service, peer: "p" },
      carried,
      get bytesIn() {
        return stream.bytesIn;
      },
      get bytesOut() {
        return stream.bytesOut;
      },
    } as unknown as FlowEnd;
    const id = this.mux.flows.size;
    this.mux.flows.set(id, flow);
    return {
      stream,
      end: () => {
        this.mux.flows.delete(id);
        this.mux.onFlowEnd?.(flow);
      },
    };
  }

  move(path: "direct" | "relayed") {
    this.path = path;
    for (const listener of this.listeners) listener();
  }

  get asTunnel(): Tunnel {
    return this as unknown as Tunnel;
  }
}

function totalsOf(ledger: FlowLedger): Record<string, number> {
  const entries = ledger.totals().flatMap(({ service, path, bytesIn, bytesOut }) => [
    [`${service} ${path} in`, bytesIn] as const,
    [`${service} ${path} out`, bytesOut] as const,
  ]);
  return Object.fromEntries(entries.filter(([, value]) => value > 0));
}

Deno.test("FlowLedger does count each byte once, on the path that carried it", () => {
  const ledger = new FlowLedger();
  const tunnel = new FakeTunnel();
  ledger.follow(tunnel.asTunnel);
  const web = tunnel.flow("web");
  const ssh = tunnel.flow("ssh");
  web.stream.bytesIn = 100;
  ssh.stream.bytesOut = 7;
  assert.deepEqual(totalsOf(ledger), { "web relayed in": 100, "ssh relayed out": 7 });
  web.stream.bytesIn = 150;
  tunnel.move("direct");
  web.stream.bytesIn = 1_150;
  assert.deepEqual(totalsOf(ledger), {
    "web relayed in": 150,
    "web direct in": 1_000,
    "ssh relayed out": 7,
  });
  web.end();
  ssh.stream.bytesOut = 10;
  tunnel.move("relayed");
  ssh.stream.bytesOut = 11;
  ssh.end();
  ledger.forget(tunnel.asTunnel);
  assert.equal(tunnel.listeners.size, 0);
  assert.deepEqual(totalsOf(ledger), {
    "web relayed in": 150,
    "web direct in": 1_000,
    "ssh direct out": 3,
    "ssh relayed out": 8,
  });
  assert.deepEqual([...ledger.ended], [["web", 1], ["ssh", 1]]);
  assert.equal(ledger.pathChanges, 2);
});

Deno.test("FlowLedger does count flows that end after their tunnel, and none that was refused", () => {
  const ledger = new FlowLedger();
  const tunnel = new FakeTunnel();
  ledger.follow(tunnel.asTunnel);
  const late = tunnel.flow("web");
  const refused = tunnel.flow("nonsense", false);
  ledger.forget(tunnel.asTunnel);
  late.stream.bytesIn = 5;
  late.end();
  refused.stream.bytesIn = 9;
  refused.end();
  assert.deepEqual(totalsOf(ledger), { "web relayed in": 5 });
  assert.deepEqual([...ledger.ended], [["web", 1]]);
});

Deno.test("FlowLedger does keep its tables small whatever names come", () => {
  const ledger = new FlowLedger();
  const tunnel = new FakeTunnel();
  ledger.follow(tunnel.asTunnel);
  for (let i = 0; i < 2_000; i++) {
    const flow = tunnel.flow(`s${i}`);
    flow.stream.bytesIn = 1;
    flow.end();
  }
  const totals = ledger.totals();
  assert.ok(totals.length <= 2 * 513, `${totals.length}`);
  assert.equal(totals.reduce((sum, { bytesIn }) => sum + bytesIn, 0), 2_000);
  assert.ok(ledger.ended.size <= 513);
});

Deno.test("FlowLedger does count dropped packets of tunnels that live and of those that are over", () => {
  const ledger = new FlowLedger();
  const [one, two] = [new FakeTunnel(), new FakeTunnel()];
  for (const tunnel of [one, two]) ledger.follow(tunnel.asTunnel);
  one.udpDrops.queue = 3;
  two.udpDrops.queue = 4;
  two.udpDrops.unknown = 1;
  ledger.forget(two.asTunnel);
  ledger.forget(two.asTunnel);
  assert.deepEqual(ledger.udpDrops, { queue: 7, backlog: 0, waiting: 0, unknown: 1 });
});
