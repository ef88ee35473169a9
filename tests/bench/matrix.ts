/**
 * Which traffic is carried as what, and why: the same traffic over a stream and over DATAGRAMs, at several round trips and losses,
 * over an emulated link of 50 Mbit/s in this process (real engine, real timers). Then how bulk flows share, and what they cost a
 * flow that asks and answers.
 *
 * "TCP over DATAGRAM" is a second QUIC connection inside of the tunnel's, which is what a reliable transport meets in a tunnel
 * that carries packets. "UDP over a stream" puts each packet on the flow's stream, length-prefixed.
 * @module
 */
import type { PacketConn, UdpFlow } from "../../src/mux/mod.ts";
import { STREAM_END } from "../../src/quic/mod.ts";
import { tunnelConfig } from "../../src/roles/tunnel_profile.ts";
import { createTestNetwork } from "../helpers/test_network.ts";
import {
  type Benchmark,
  type BenchOptions,
  type Cell,
  percentile,
  round,
  type Table,
} from "./benchmark.ts";
import { createEmulatedPair, join, type LinkShape } from "./emulated_pair.ts";
import { MemoryConn } from "./memory_conn.ts";
import { measurePromptness, PROMPT_COLUMNS, promptCells } from "./prompt.ts";

const MBPS = 50;
/** Packets a second of the UDP traffic, and bytes in each: a game, or a voice call. */
const UDP_RATE = 60;
const UDP_BYTES = 160;

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Mbit/s of `seconds` after a start of one second. */
async function rateOf(bytes: () => number, seconds: number): Promise<number> {
  await sleep(1_000);
  const [before, start] = [bytes(), performance.now()];
  await sleep(seconds * 1_000);
  return (bytes() - before) * 8 / (performance.now() - start) / 1_000;
}

async function drain(conn: MemoryConn, got: (bytes: number) => void): Promise<void> {
  const buffer = new Uint8Array(256 * 1024);
  for (;;) {
    const length = await conn.read(buffer).catch(() => null);
    if (length === null) return;
    got(length);
  }
}

async function tcpOverStream(shape: LinkShape, seconds: number): Promise<number> {
  let got = 0;
  const pair = await createEmulatedPair(shape, {
    accept: () => {
      const [near, far] = MemoryConn.pair();
      void drain(far, (bytes) => got += bytes);
      return Promise.resolve(near);
    },
  });
  const [near, far] = MemoryConn.pair();
  const flow = await pair.agent.openTcp("bulk", "bench");
  void flow.pipe(far).catch(() => {});
  let over = false;
  void (async () => {
    const block = new Uint8Array(65_536);
    while (!over) await near.write(block).catch(() => over = true);
  })();
  const rate = await rateOf(() => got, seconds);
  over = true;
  pair.close();
  return rate;
}

async function tcpOverDatagram(shape: LinkShape, seconds: number): Promise<number> {
  const network = await createTestNetwork();
  const { caPem } = network;
  const [carol, inner] = [await network.agent("carol"), await network.connector("inner")];
  let got = 0;
  let fromTarget: ((packet: Uint8Array) => void) | undefined;
  const target: PacketConn = {
    // Handed over outside of the outer engine's call, as a socket would.
    send: (packet) => later(packet, (copy) => joined.atServer([copy])),
    receive: (take) => fromTarget = take,
    close: () => {},
  };
  const later = (packet: Uint8Array, hand: (copy: Uint8Array) => void) => {
    const copy = packet.slice();
    setTimeout(() => hand(copy), 0);
  };
  const pair = await createEmulatedPair(shape, { acceptUdp: () => Promise.resolve(target) });
  const flow = await pair.agent.openUdp("bulk", "bench");
  flow.onPacket = (packet) => later(packet, (copy) => joined.atClient([copy]));
  const established = Promise.withResolvers<void>();
  const joined = join({
    configs: {
      client: tunnelConfig({ caPem, ...carol }),
      server: tunnelConfig({ caPem, ...inner }),
    },
    serverName: inner.serverName,
    packet: 1200,
    toServer: (datagram) => void flow.send(datagram),
    toClient: (datagram) => fromTarget?.(datagram),
    client: { established: () => established.resolve() },
    server: () => ({
      stream: async (stream) => {
        const buffer = new Uint8Array(256 * 1024);
        for (;;) {
          const length = stream.read(buffer);
          if (length === STREAM_END) return;
          if (length > 0) got += length;
          else await stream.readable();
        }
      },
    }),
  });
  await Promise.race([established.promise, sleep(20_000)]);
  const stream = joined.client.openStream()!;
  let over = false;
  void (async () => {
    const block = new Uint8Array(65_536);
    while (!over && await stream.writeAll(block));
  })();
  const rate = await rateOf(() => got, seconds);
  over = true;
  joined.close();
  pair.close();
  return rate;
}

/** Milliseconds one way of each packet that came, and how many did not. */
interface PacketTimes {
  readonly times: number[];
  readonly lost: number;
}

async function udpOver(
  carrier: "DATAGRAM" | "stream",
  shape: LinkShape,
  seconds: number,
): Promise<PacketTimes> {
  const count = UDP_RATE * seconds;
  const sentAt = new Float64Array(count);
  const times: number[] = [];
  const take = (packet: Uint8Array) => {
    const number = packet[0]! << 8 | packet[1]!;
    if (number < count) times.push(performance.now() - sentAt[number]!);
  };
  let near: MemoryConn | undefined;
  let flow: UdpFlow | undefined;
  const pair = await createEmulatedPair(shape, {
    accept: () => {
      const [one, far] = MemoryConn.pair();
      let have = 0;
      const packet = new Uint8Array(UDP_BYTES);
      void (async () => {
        for (;;) {
          const length = await far.read(packet.subarray(have)).catch(() => null);
          if (length === null) return;
          have += length;
          if (have < UDP_BYTES) continue;
          have = 0;
          take(packet);
        }
      })();
      return Promise.resolve(one);
    },
    acceptUdp: () => Promise.resolve({ send: take, receive: () => {}, close: () => {} }),
  });
  if (carrier === "DATAGRAM") flow = await pair.agent.openUdp("game", "bench");
  else {
    const [one, far] = MemoryConn.pair();
    near = one;
    void (await pair.agent.openTcp("game", "bench")).pipe(far).catch(() => {});
  }
  const packet = new Uint8Array(UDP_BYTES);
  const start = performance.now();
  for (let i = 0; i < count; i++) {
    packet[0] = i >> 8;
    packet[1] = i & 0xff;
    sentAt[i] = performance.now();
    if (flow) flow.send(packet);
    else await near!.write(packet);
    await sleep(Math.max(0, start + (i + 1) * 1_000 / UDP_RATE - performance.now()));
  }
  await sleep(1_000 + 4 * shape.delayMs);
  pair.close();
  return { times, lost: count - times.length };
}

async function carriersTable({ quick, say }: BenchOptions): Promise<Table> {
  const seconds = quick ? 2 : 8;
  const rows: Cell[][] = [];
  for (const rtt of [10, 100]) {
    for (const percent of [0, 1, 5]) {
      say(`${rtt} ms, ${percent} % loss`);
      const shape = { delayMs: rtt / 2, loss: percent / 100, mbps: MBPS };
      const stream = await tcpOverStream(shape, seconds);
      const datagram = await tcpOverDatagram(shape, seconds);
      const udp = await udpOver("DATAGRAM", shape, 2 * seconds);
      const reliable = await udpOver("stream", shape, 2 * seconds);
      const row: Cell[] = [rtt, percent, round(stream), round(datagram)];
      for (const { times } of [udp, reliable]) {
        row.push(round(percentile(times, 50)), round(percentile(times, 99)));
      }
      rows.push([...row, round(100 * udp.lost / (udp.lost + udp.times.length))]);
    }
  }
  return {
    title: `What carries what: ${MBPS} Mbit/s, both ways of carrying it`,
    columns: [
      "RTT ms",
      "loss %",
      "TCP over stream Mbit/s",
      "TCP over DATAGRAM Mbit/s",
      "UDP over DATAGRAM p50 ms",
      "p99 ms",
      "UDP over stream p50 ms",
      "p99 ms ",
      "UDP lost %",
    ],
    rows,
    notes: [
      "TCP: a stream. It is retransmitted once, not twice, and one flow's loss holds up no other.",
      "UDP: a DATAGRAM. What is lost is lost, and what comes is never late for something else's sake.",
      `UDP traffic: ${UDP_RATE} packets a second of ${UDP_BYTES} bytes; milliseconds are one way.`,
    ],
  };
}

async function promptTable({ quick, say }: BenchOptions): Promise<Table> {
  const seconds = quick ? 2 : 10;
  const rows: Cell[][] = [];
  for (const rtt of [10, 40, 100]) {
    for (const direction of ["up", "down"] as const) {
      say(`four bulk flows and an echo, ${rtt} ms, ${direction}`);
      // A queue of a quarter of a round trip: what the path itself adds to its round trip stays small.
      const queueBytes = Math.max(65_536, MBPS * 125 * rtt / 4);
      const shape = { delayMs: rtt / 2, loss: 0.01, mbps: MBPS, queueBytes };
      const result = await measurePromptness(shape, { seconds, direction });
      rows.push([rtt, direction, ...promptCells(result, rtt)]);
    }
  }
  return {
    title: `Four bulk flows and one echo of 100 bytes in one tunnel: ${MBPS} Mbit/s, 1 % loss`,
    columns: ["RTT ms", "bulk", ...PROMPT_COLUMNS],
    rows,
  };
}

/** See the module's head. */
export const matrixBenchmark: Benchmark = {
  name: "matrix",
  about: "streams beside DATAGRAMs for TCP and UDP, at several losses and round trips; fair shares",
  run: async (options) => [await carriersTable(options), await promptTable(options)],
};
