import assert from "node:assert/strict";
import {
  FlowRefused,
  MAX_UDP_FLOWS,
  Mux,
  type PacketConn,
  type UdpFlow,
} from "../../src/mux/mod.ts";
import { createPair, type PairOptions } from "../quic/pair.ts";

/** A target in memory: `answer` gets each packet, and a way to reply. */
class FakeTarget implements PacketConn {
  closed = false;
  #take: ((packet: Uint8Array) => void) | undefined;
  readonly #answer: (packet: Uint8Array, reply: (packet: Uint8Array) => void) => void;

  constructor(answer: (packet: Uint8Array, reply: (packet: Uint8Array) => void) => void) {
    this.#answer = answer;
  }

  send(packet: Uint8Array): void {
    this.#answer(packet.slice(), (reply) => this.#take?.(reply));
  }

  receive(take: (packet: Uint8Array) => void): void {
    this.#take = take;
  }

  close(): void {
    this.closed = true;
  }
}

async function createMuxes(
  answer: ConstructorParameters<typeof FakeTarget>[0],
  options: PairOptions & { dialMs?: number } = {},
) {
  const targets: FakeTarget[] = [];
  let connectorMux: Mux | undefined;
  const cell: { agent?: Mux } = {};
  const pair = await createPair({
    ...options,
    server: (connection) => {
      connectorMux = new Mux(connection, {
        peer: "alice",
        sendAbort: (id) => cell.agent?.peerAborted(id),
        acceptUdp: async ({ service }) => {
          if (options.dialMs) await new Promise((resolve) => setTimeout(resolve, options.dialMs));
          if (service !== "dns") {
            throw new FlowRefused("not-granted", `Cannot open flow to "${service}"`);
          }
          const target = new FakeTarget(answer);
          targets.push(target);
          return target;
        },
      });
      return {
        stream: (stream) => void connectorMux!.accept(stream),
        datagram: (data) => connectorMux!.datagram(data),
      };
    },
    client: { datagram: (data) => cell.agent?.datagram(data) },
  });
  await pair.established;
  const agentMux = cell.agent = new Mux(pair.client, {
    peer: "home",
    sendAbort: (id) => connectorMux?.peerAborted(id),
  });
  return { agentMux, connectorMux: () => connectorMux!, targets, pair };
}

const echo = (packet: Uint8Array, reply: (packet: Uint8Array) => void) => reply(packet);

/** Everything that comes back, in order. */
function collect(flow: UdpFlow) {
  const got: Uint8Array[] = [];
  let wake = () => {};
  flow.onPacket = (packet) => {
    got.push(packet.slice());
    wake();
  };
  return async (count: number) => {
    while (got.length < count) await new Promise<void>((resolve) => wake = resolve);
    return got;
  };
}

async function settled(condition: () => boolean) {
  for (let i = 0; i < 400 && !condition(); i++) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.ok(condition());
}

function pattern(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + seed) & 0xff);
}

Deno.test("Mux.openUdp() carries packets of every size both ways", async () => {
  const { agentMux, connectorMux, pair } = await createMuxes(echo);
  const flow = await agentMux.openUdp("dns", "test");
  const received = collect(flow);
  const sizes = [1, 2, 63, 512, 1200, 1290, 1300, 1310, 1350, 1400, 1472, 9000, 65_000, 65_507];
  for (const [i, size] of sizes.entries()) {
    assert.ok(flow.send(pattern(size, size)));
    const got = await received(i + 1);
    assert.deepEqual(got[i], pattern(size, size));
  }
  const sum = sizes.reduce((a, b) => a + b);
  assert.deepEqual([agentMux.bytesIn, agentMux.bytesOut], [sum, sum]);
  assert.deepEqual([connectorMux().bytesIn, connectorMux().bytesOut], [sum, sum]);
  flow.close();
  await settled(() => agentMux.flows.size === 0 && connectorMux().flows.size === 0);
  pair.close();
});

Deno.test("Mux.openUdp() holds packets that come before the target is there", async () => {
  const { agentMux, pair } = await createMuxes(echo, { dialMs: 100 });
  const flow = await agentMux.openUdp("dns", "test");
  const received = collect(flow);
  for (let i = 0; i < 5; i++) flow.send(Uint8Array.of(i));
  const got = await received(5);
  assert.deepEqual(got.map(([first]) => first), [0, 1, 2, 3, 4]);
  flow.close();
  pair.close();
});

Deno.test("Mux.openUdp() tells why the other end refused", async () => {
  const { agentMux, connectorMux, pair } = await createMuxes(echo);
  const flow = await agentMux.openUdp("ssh", "test");
  const why = await new Promise<string>((resolve) => flow.onClose = resolve);
  assert.equal(why, 'Cannot open flow to "ssh"');
  assert.equal(flow.send(new Uint8Array(1)), false);
  await settled(() => agentMux.flows.size === 0 && connectorMux().flows.size === 0);
  pair.close();
});

Deno.test("UdpFlow.close() closes the target's socket, and the flow at either end", async () => {
  const { agentMux, connectorMux, targets, pair } = await createMuxes(echo);
  const flow = await agentMux.openUdp("dns", "test");
  const received = collect(flow);
  flow.send(Uint8Array.of(7));
  await received(1);
  flow.close();
  await settled(() => targets[0]!.closed);
  await settled(() => agentMux.flows.size === 0 && connectorMux().flows.size === 0);

  const other = await agentMux.openUdp("dns", "test");
  const answered = collect(other);
  other.send(Uint8Array.of(8));
  await answered(1);
  const closed = new Promise<string>((resolve) => other.onClose = resolve);
  connectorMux().abortFlows(() => true);
  assert.equal(await closed, "the other end has closed it");
  await settled(() => agentMux.flows.size === 0 && connectorMux().flows.size === 0);
  pair.close();
});

Deno.test("Mux loses UDP packets that the path loses, and keeps the order of the others", async () => {
  let lossy = false;
  let count = 0;
  const { agentMux, connectorMux, pair } = await createMuxes(echo, {
    deliver: (toServer) => !lossy || !toServer || ++count % 5 !== 0,
  });
  const flow = await agentMux.openUdp("dns", "test");
  const got: number[] = [];
  const marked = Promise.withResolvers<void>();
  flow.onPacket = ([high, low]) => {
    if (high === 0xff) marked.resolve();
    else got.push(high! << 8 | low!);
  };
  flow.send(Uint8Array.of(0, 0));
  await settled(() => got.length === 1);
  lossy = true;
  for (let i = 1; i <= 200; i++) {
    flow.send(Uint8Array.of(i >> 8, i & 0xff));
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  lossy = false;
  flow.send(Uint8Array.of(0xff, 0));
  await marked.promise;
  assert.ok(got.length < 201, "something was lost");
  assert.ok(got.length > 100, `only ${got.length} of 201 came`);
  assert.deepEqual(got, [...got].sort((a, b) => a - b));
  assert.equal(new Set(got).size, got.length);
  flow.close();
  await settled(() => connectorMux().flows.size === 0);
  pair.close();
});

Deno.test("Mux.openUdp() closes the flow that was idle longest where there are too many", async () => {
  const { agentMux, pair } = await createMuxes(echo, { settings: { maxStreams: 2000 } });
  const flows: UdpFlow[] = [];
  const closed: number[] = [];
  for (let i = 0; i < MAX_UDP_FLOWS; i++) {
    const flow = await agentMux.openUdp("dns", "test");
    flow.onClose = () => closed.push(i);
    flows.push(flow);
  }
  await assert.rejects(agentMux.openUdp("dns", "test"), { refusal: "too-many" });
  await new Promise((resolve) => setTimeout(resolve, 2_100));
  flows[0]!.send(Uint8Array.of(1));
  await agentMux.openUdp("dns", "test");
  assert.deepEqual(closed, [1]);
  agentMux.abortFlows(() => true);
  await settled(() => agentMux.flows.size === 0);
  pair.close();
});

Deno.test("Mux.datagram() drops what is for no flow, and counts it", async () => {
  const { agentMux, connectorMux, pair } = await createMuxes(echo);
  agentMux.datagram(Uint8Array.of(4, 1, 2));
  agentMux.datagram(new Uint8Array(0));
  assert.equal(agentMux.udpDrops.unknown, 2);
  // Where flows are accepted it may be early: so many are kept, no more.
  for (let i = 0; i < 200; i++) connectorMux().datagram(Uint8Array.of(40, i));
  assert.equal(connectorMux().udpDrops.unknown, 200 - 128);
  pair.close();
});

Deno.test("Mux gives streams back however UDP flows end", async () => {
  const { agentMux, connectorMux, pair } = await createMuxes(echo);
  // Ten times as many as may be open at a time.
  for (let i = 0; i < 1_000; i++) {
    const flow = await agentMux.openUdp(i % 5 === 4 ? "ssh" : "dns", "test");
    const large = i % 3 === 0;
    if (i % 5 === 0) flow.close();
    else if (i % 5 === 4) await new Promise<string>((resolve) => flow.onClose = resolve);
    else {
      const received = collect(flow);
      flow.send(pattern(large ? 5_000 : 50, i));
      if (i % 5 !== 1) await received(1);
      if (i % 5 === 3) connectorMux().abortFlows(() => true);
      else flow.close();
    }
  }
  await settled(() => agentMux.flows.size === 0 && connectorMux().flows.size === 0);
  assert.equal(pair.client.streamCount, 0);
  const flow = await agentMux.openUdp("dns", "test");
  const received = collect(flow);
  for (let i = 0; i < 100; i++) {
    flow.send(pattern(40_000, i));
    await received(i + 1);
  }
  flow.close();
  pair.close();
});
