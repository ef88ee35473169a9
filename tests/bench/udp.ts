/**
 * What one UDP socket of ours can send and receive, beside `node:dgram`: two processes, loopback, 1350-byte datagrams.
 *
 * `deno task bench -- udp`, or this file alone: `deno run -A tests/bench/udp.ts [--json]`.
 * @module
 */
import { createSocket } from "node:dgram";
import process from "node:process";
import { addressOf } from "../../src/core/mod.ts";
import { type DatagramHandler, LoopTurn, openUdpSocket } from "../../src/sockets/mod.ts";

/** Bytes in a datagram: what fits most paths. */
const SIZE = 1350;
/** How long each side sends, in milliseconds. */
const DURATION = 2000;
/** Round trips of the echo. */
const ROUNDS = 20_000;

const KINDS = ["batched", "portable", "node:dgram"] as const;
type Kind = typeof KINDS[number];

/** The little that the benchmark needs of any socket. */
interface Peer {
  readonly port: number;
  /** Sends `count` datagrams back to back. */
  send(port: number, count: number): Promise<void>;
  receive(datagram: (count: number, bytes: number, fromPort: number) => void): void;
  close(): void;
}

const TRAIN = new Uint8Array(SIZE * 64);

function ourPeer(portable: boolean): Peer {
  const socket = openUdpSocket({ portable });
  return {
    port: socket.local.port,
    async send(port, count) {
      const to = addressOf("127.0.0.1", port);
      const data = TRAIN.subarray(0, count * SIZE);
      for (let offset = 0; offset < data.length;) {
        offset += socket.send(to, offset ? data.subarray(offset) : data, SIZE);
        if (offset < data.length) await socket.writable();
      }
    },
    receive(datagram) {
      const handler: DatagramHandler = {
        datagrams(data, segmentSize, from) {
          datagram(Math.ceil(data.length / segmentSize), data.length, from.port);
        },
        batchEnd() {},
      };
      socket.receive(handler);
    },
    close: () => socket.close(),
  };
}

async function nodePeer(): Promise<Peer> {
  const socket = createSocket("udp4");
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  const datagram = TRAIN.subarray(0, SIZE);
  return {
    port: socket.address().port,
    async send(port, count) {
      const sent: Promise<void>[] = [];
      for (let i = 0; i < count; i++) {
        sent.push(
          new Promise((resolve) => socket.send(datagram, port, "127.0.0.1", () => resolve())),
        );
      }
      await Promise.all(sent);
    },
    receive(datagram) {
      socket.on("message", (data, from) => datagram(1, data.length, from.port));
    },
    close: () => socket.close(),
  };
}

async function open(kind: Kind): Promise<Peer> {
  return kind === "node:dgram" ? await nodePeer() : ourPeer(kind === "portable");
}

/** CPU time used by this process, in microseconds. */
function cpu(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

const say = (value: unknown) => console.log(JSON.stringify(value));

/** What each child process does; answers are lines of JSON on stdout. */
const CHILDREN: Record<string, (kind: Kind, port: number, train: number) => Promise<void>> = {
  async receive(kind) {
    const peer = await open(kind);
    let datagrams = 0;
    let first = 0;
    let last = 0;
    let cpuAtFirst = 0;
    peer.receive((count) => {
      last = performance.now();
      if (datagrams === 0) {
        first = last;
        cpuAtFirst = cpu();
      }
      datagrams += count;
    });
    say({ port: peer.port });
    await new Response(Deno.stdin.readable).text();
    say({
      perSecond: datagrams / (last - first) * 1000,
      micros: (cpu() - cpuAtFirst) / datagrams,
      datagrams,
    });
    peer.close();
  },

  async send(kind, port, train) {
    const peer = await open(kind);
    const turn = new LoopTurn();
    let datagrams = 0;
    const cpuBefore = cpu();
    const start = performance.now();
    while (performance.now() - start < DURATION) {
      for (let i = 0; i < 64; i += train) {
        await peer.send(port, train);
        datagrams += train;
      }
      await turn.next();
    }
    const elapsed = performance.now() - start;
    say({
      perSecond: datagrams / elapsed * 1000,
      micros: (cpu() - cpuBefore) / datagrams,
      datagrams,
    });
    turn.close();
    peer.close();
  },

  async echo(kind) {
    const peer = await open(kind);
    peer.receive((_count, _bytes, fromPort) => void peer.send(fromPort, 1));
    say({ port: peer.port });
    await new Response(Deno.stdin.readable).text();
    peer.close();
  },

  async ping(kind, port) {
    const peer = await open(kind);
    const times: number[] = [];
    const done = Promise.withResolvers<void>();
    let sentAt = 0;
    const ping = () => {
      sentAt = performance.now();
      void peer.send(port, 1);
    };
    peer.receive(() => {
      times.push((performance.now() - sentAt) * 1000);
      if (times.length < ROUNDS) ping();
      else done.resolve();
    });
    const cpuBefore = cpu();
    ping();
    await done.promise;
    times.sort((a, b) => a - b);
    say({
      p50: times[Math.floor(ROUNDS / 2)],
      p99: times[Math.floor(ROUNDS * 0.99)],
      micros: (cpu() - cpuBefore) / ROUNDS,
    });
    peer.close();
  },
};

/** A child process of this very file, and its answers line by line. */
function start(...args: string[]) {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", import.meta.filename!, ...args],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  return {
    async line(): Promise<Record<string, number>> {
      while (!rest.includes("\n")) {
        const { value, done } = await lines.read();
        if (done) throw new Error(`Cannot measure as the process "${args.join(" ")}" ended early`);
        rest += value;
      }
      const end = rest.indexOf("\n");
      const line = rest.slice(0, end);
      rest = rest.slice(end + 1);
      return JSON.parse(line);
    },
    /** Tells it to stop. */
    stop: () => child.stdin.close(),
    async ended() {
      await lines.cancel();
      await child.status;
    },
  };
}

/** One row of the table. Rates in thousand datagrams a second, CPU in µs per datagram (or round trip). */
interface Row {
  what: string;
  [figure: string]: number | string;
}

async function throughput(sender: Kind, receiver: Kind, train: number): Promise<Row> {
  const to = start("receive", receiver);
  const { port } = await to.line();
  const from = start("send", sender, String(port), String(train));
  const sent = await from.line();
  await from.stop();
  await from.ended();
  await to.stop();
  const received = await to.line();
  await to.ended();
  return {
    what: `${sender}${train > 1 ? ` (trains of ${train})` : ""} -> ${receiver}`,
    sentPerMs: round(sent.perSecond! / 1000),
    sendMicros: round(sent.micros!),
    receivedPerMs: round(received.perSecond! / 1000),
    receiveMicros: round(received.micros!),
    lostPercent: round(100 * (1 - received.datagrams! / sent.datagrams!)),
  };
}

async function echo(kind: Kind): Promise<Row> {
  const far = start("echo", kind);
  const { port } = await far.line();
  const near = start("ping", kind, String(port), "1");
  const { p50, p99, micros } = await near.line();
  await near.stop();
  await near.ended();
  await far.stop();
  await far.ended();
  return {
    what: `${kind} echo`,
    p50Micros: round(p50!),
    p99Micros: round(p99!),
    cpuMicros: round(micros!),
  };
}

const round = (value: number) => Math.round(value * 100) / 100;

/** Measures and prints: a table, or with `json` one JSON value. */
export async function run({ json = false }: { json?: boolean } = {}): Promise<void> {
  const rates: Row[] = [];
  const kinds = KINDS.filter((kind) => kind !== "batched" || isBatched());
  if (kinds.includes("batched")) rates.push(await throughput("batched", "batched", 48));
  for (const kind of kinds) rates.push(await throughput(kind, kind, 1));
  const echoes: Row[] = [];
  for (const kind of kinds) echoes.push(await echo(kind));
  if (json) {
    say({ datagramBytes: SIZE, rates, echoes });
    return;
  }
  console.log(`UDP over loopback, ${SIZE} bytes, rates in thousand datagrams/s, CPU in µs:`);
  console.table(rates);
  console.log("One datagram there and back, µs (two wake-ups):");
  console.table(echoes);
}

function isBatched(): boolean {
  const socket = openUdpSocket();
  socket.close();
  return socket.kind === "batched";
}

if (import.meta.main) {
  const [what, kind, port, train] = Deno.args;
  const child = CHILDREN[what ?? ""];
  if (child) await child(kind as Kind, Number(port), Number(train));
  else await run({ json: Deno.args.includes("--json") });
}
