/**
 * UDP services with real processes: DNS as `dig` asks it, a game's stream, QUIC inside of the tunnel's QUIC, and every size
 * of packet.
 * @module
 */
import assert from "node:assert/strict";
import { addressOf } from "../../src/core/mod.ts";
import {
  ALPN_TUNNEL,
  createQuicConfig,
  type Credentials,
  type Egress,
  QuicEndpoint,
  STREAM_END,
} from "../../src/quic/mod.ts";
import { openUdpSocket, type UdpSocket } from "../../src/sockets/mod.ts";
import { createTestNetwork } from "../helpers/test_network.ts";
import {
  eventually,
  findProgram,
  freePort,
  inScene,
  isReadyToRun,
  lacks,
  type Relay,
  run,
  type Scene,
} from "./harness.ts";

const ignore = !isReadyToRun();

/** A relay, a connector that offers UDP services, and an agent with a local port for each; the ports. */
async function openUdp(
  scene: Scene,
  targets: Readonly<Record<string, number>>,
  options: { args?: readonly string[] } = {},
): Promise<{ ports: Record<string, number>; relay: Relay; agentState: string }> {
  const services = Object.keys(targets);
  const relay = await scene.startRelay();
  const home = await scene.invite(relay, "connector", "home", services);
  const alice = await scene.invite(relay, "agent", "alice", services);
  const connector = scene.startConnector({
    invite: home,
    services: services.map((name) => `${name}=udp://127.0.0.1:${targets[name]}`),
  });
  const ports = Object.fromEntries(services.map((name) => [name, freePort()]));
  const forwards = services.map((name) => `${name}=udp://${ports[name]}`);
  const agent = scene.startAgent({
    invite: alice,
    services: [],
    args: [...options.args ?? [], ...forwards],
  });
  const [, said] = await Promise.all([connector.ready(), agent.process.ready()]);
  for (const name of services) assert.match(said, new RegExp(`${name}=udp://127.0.0.1:`));
  return { ports, relay, agentState: agent.state };
}

/** Answers each packet with itself; counts from how many ports it was asked. */
function startEcho(scene: Scene): { port: number; peers: Set<number> } {
  const socket = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
  const peers = new Set<number>();
  const served = (async () => {
    const buffer = new Uint8Array(65_536);
    for (;;) {
      const [packet, from] = await socket.receive(buffer);
      peers.add((from as Deno.NetAddr).port);
      await socket.send(packet, from);
    }
  })().catch(() => {});
  scene.atEnd(async () => {
    socket.close();
    await served;
  });
  return { port: (socket.addr as Deno.NetAddr).port, peers };
}

/** A local application. */
function openClient(scene: Scene, port: number) {
  const socket = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
  const got: Uint8Array[] = [];
  const received = (async () => {
    for await (const [packet] of socket) got.push(packet.slice());
  })().catch(() => {});
  scene.atEnd(async () => {
    socket.close();
    await received;
  });
  const to = { transport: "udp", hostname: "127.0.0.1", port } as const;
  return { send: (packet: Uint8Array) => socket.send(packet, to), got };
}

const noDig = ignore || lacks("a UDP forward answers dig", "dnsmasq", "dig");

Deno.test({
  name: "a UDP forward answers dig from a real server, over UDP and in large answers",
  ignore: noDig,
  fn: () =>
    inScene(async (scene) => {
      const port = freePort();
      // 30 addresses are an answer of 500 bytes; a text of 3000 needs a packet that no path takes whole.
      const hosts = Array.from(
        { length: 30 },
        (_, i) => `--host-record=many.test,192.0.2.${i + 1}`,
      );
      const text = Array.from({ length: 14 }, (_, i) => String(i).padEnd(200, "x")).join(",");
      const user = Deno.uid() === 0 ? ["--user=root"] : [];
      scene.start("dnsmasq", findProgram("dnsmasq")!, [
        "--keep-in-foreground",
        "--no-resolv",
        "--no-hosts",
        "--conf-file=/dev/null",
        "--listen-address=127.0.0.1",
        "--bind-interfaces",
        "--pid-file=",
        "--edns-packet-max=4096",
        `--port=${port}`,
        "--address=/web.test/192.0.2.80",
        `--txt-record=long.test,${text}`,
        ...hosts,
        ...user,
      ]);
      const { ports, agentState } = await openUdp(scene, { dns: port });
      const dig = async (...args: string[]) => {
        const asked = ["@127.0.0.1", "-p", `${ports["dns"]}`, "+tries=3", "+time=2", ...args];
        const { code, stdout } = await run("dig", asked);
        assert.equal(code, 0, stdout);
        return stdout;
      };
      await eventually("dnsmasq", async () => (await dig("web.test", "+short")) || undefined);
      assert.equal(await dig("web.test", "+short"), "192.0.2.80\n");
      const many = await dig("many.test", "+short", "+notcp", "+ignore", "+bufsize=4096");
      assert.equal(many.trim().split("\n").length, 30);
      const long = await dig("long.test", "TXT", "+short", "+notcp", "+ignore", "+bufsize=4096");
      assert.ok(long.length > 2_800, long);
      const status = await scene.status(agentState);
      const [tunnel] = status["tunnels"] as { flowList: { protocol: string; bytesIn: number }[] }[];
      assert.ok(tunnel!.flowList.every(({ protocol }) => protocol === "udp"));
    }),
});

Deno.test({
  name: "a UDP forward carries packets of every size, and keeps peers apart",
  ignore,
  fn: () =>
    inScene(async (scene) => {
      const echo = startEcho(scene);
      const { ports } = await openUdp(scene, { echo: echo.port });
      const client = openClient(scene, ports["echo"]!);
      const sizes = [1, 2, 100, 1100, 1150, 1200, 1250, 1300, 1350, 1400, 1450, 1472, 1500];
      for (const size of [...sizes, 2000, 9000, 32_768, 65_000, 65_506, 65_507]) {
        const packet = Uint8Array.from({ length: size }, (_, i) => (i * 7 + size) & 0xff);
        const before = client.got.length;
        await eventually(`an echo of ${size} bytes`, async () => {
          await client.send(packet);
          await new Promise((resolve) => setTimeout(resolve, 20));
          return client.got.length > before || undefined;
        }, { withinMs: 20_000, everyMs: 20 });
        assert.deepEqual(client.got.at(-1), packet);
      }
      const others = [1, 2, 3].map(() => openClient(scene, ports["echo"]!));
      for (const [i, other] of others.entries()) {
        await eventually("an echo for another peer", async () => {
          await other.send(Uint8Array.of(i));
          await new Promise((resolve) => setTimeout(resolve, 20));
          return other.got.length > 0 || undefined;
        });
        for (const packet of other.got) assert.deepEqual(packet, Uint8Array.of(i));
      }
      assert.equal(echo.peers.size, 4);
    }),
});

Deno.test({
  name: "a UDP forward carries a game's 60 packets a second, in order and once each",
  ignore,
  fn: () =>
    inScene(async (scene) => {
      const echo = startEcho(scene);
      const { ports } = await openUdp(scene, { game: echo.port });
      const client = openClient(scene, ports["game"]!);
      await eventually("the first packet back", async () => {
        await client.send(Uint8Array.of(0xff, 0xff, 0));
        await new Promise((resolve) => setTimeout(resolve, 50));
        return client.got.length > 0 || undefined;
      });
      const count = 240;
      for (let i = 0; i < count; i++) {
        await client.send(
          new Uint8Array(120).fill(i & 0xff, 2).fill(i >> 8, 0, 1).fill(i & 0xff, 1, 2),
        );
        await new Promise((resolve) => setTimeout(resolve, 1000 / 60));
      }
      const numbers = () =>
        client.got.filter(({ length }) => length === 120).map(([high, low]) => high! << 8 | low!);
      await eventually("the last packet back", () => numbers().at(-1) === count - 1 || undefined);
      const got = numbers();
      assert.deepEqual(got, [...new Set(got)].sort((a, b) => a - b));
      // Moving to the direct path may cost a packet; nothing else on this machine does.
      assert.ok(got.length >= count - 5, `${count - got.length} packets were lost`);
    }),
});

function egressOf(socket: UdpSocket): Egress {
  return {
    packetSize: () => 1200,
    prefix: () => new Uint8Array(0),
    transmit: (_local, peer, data, segmentSize) => socket.send(peer, data, segmentSize),
    writable: () => socket.writable(),
  };
}

function configOf(credentials: Credentials) {
  return createQuicConfig({
    credentials,
    alpn: ALPN_TUNNEL,
    idleTimeoutMs: 20_000,
    streamWindow: 1 << 20,
    maxStreamWindow: 4 << 20,
    connectionWindow: 4 << 20,
    maxConnectionWindow: 8 << 20,
    maxStreams: 10,
    maxPacket: 1200,
  });
}

Deno.test({
  name: "a UDP forward carries QUIC: 4 MiB there and back",
  ignore,
  fn: () =>
    inScene(async (scene) => {
      const network = await createTestNetwork();
      const { caPem } = network;
      const [agent, connector] = [await network.agent("carol"), await network.connector("inner")];
      const serverSocket = openUdpSocket({ host: "127.0.0.1" });
      const server = new QuicEndpoint();
      const join = (socket: UdpSocket, endpoint: QuicEndpoint) => {
        socket.receive({
          datagrams: (data, segmentSize, from) =>
            endpoint.ingest(data, segmentSize, from, socket.local),
          batchEnd: () => endpoint.batchEnd(),
        });
        scene.atEnd(() => {
          endpoint.close("");
          socket.close();
        });
      };
      server.listen(() => ({
        config: configOf({ caPem, ...connector }),
        egress: egressOf(serverSocket),
        handler: () => ({
          stream: async (stream) => {
            const buffer = new Uint8Array(65_536);
            for (;;) {
              const length = stream.read(buffer);
              if (length === STREAM_END) return stream.finish();
              if (length === 0) await stream.readable();
              else await stream.writeAll(buffer.subarray(0, length));
            }
          },
        }),
      }));
      join(serverSocket, server);
      const { ports } = await openUdp(scene, { quic: serverSocket.local.port });

      const clientSocket = openUdpSocket({ host: "127.0.0.1" });
      const client = new QuicEndpoint();
      join(clientSocket, client);
      const established = Promise.withResolvers<void>();
      const connection = client.connect({
        config: configOf({ caPem, ...agent }),
        egress: egressOf(clientSocket),
        local: clientSocket.local,
        peer: addressOf("127.0.0.1", ports["quic"]!),
        serverName: connector.serverName,
        handler: {
          established: () => established.resolve(),
          closed: (reason) => established.reject(new Error(JSON.stringify(reason))),
        },
      });
      await established.promise;
      const stream = connection.openStream()!;
      const sent = Uint8Array.from({ length: 4 << 20 }, (_, i) => (i * 31 + (i >> 8)) & 0xff);
      void stream.writeAll(sent).then(() => stream.finish());
      const got = new Uint8Array(sent.length + 1);
      let at = 0;
      for (;;) {
        const length = stream.read(got.subarray(at));
        if (length === STREAM_END) break;
        if (length === 0) await stream.readable();
        else at += length;
      }
      assert.equal(at, sent.length);
      assert.deepEqual(got.subarray(0, at), sent);
    }),
});

Deno.test({
  name: "SOCKS5 UDP ASSOCIATE reaches a UDP service by name",
  ignore,
  fn: () =>
    inScene(async (scene) => {
      const echo = startEcho(scene);
      const socks = freePort();
      const args = ["--socks", `127.0.0.1:${socks}`];
      await openUdp(scene, { echo: echo.port }, { args });
      const tcp = await Deno.connect({ hostname: "127.0.0.1", port: socks });
      scene.atEnd(() => tcp.close());
      const buffer = new Uint8Array(64);
      await tcp.write(Uint8Array.of(5, 1, 0));
      await tcp.read(buffer);
      assert.deepEqual([...buffer.subarray(0, 2)], [5, 0]);
      await tcp.write(Uint8Array.of(5, 3, 0, 1, 0, 0, 0, 0, 0, 0));
      await tcp.read(buffer);
      assert.deepEqual([...buffer.subarray(0, 4)], [5, 0, 0, 1]);
      const client = openClient(scene, buffer[8]! << 8 | buffer[9]!);
      const name = new TextEncoder().encode("echo.postern");
      const header = [0, 0, 0, 3, name.length, ...name, 0, 7];
      await eventually("an answer by the association", async () => {
        await client.send(Uint8Array.of(...header, 1, 2, 3));
        await new Promise((resolve) => setTimeout(resolve, 50));
        return client.got.length > 0 || undefined;
      });
      assert.deepEqual([...client.got[0]!], [...header, 1, 2, 3]);
    }),
});
