/** What only the batched socket of Linux does. */
import assert from "node:assert/strict";
import { addressOf } from "../../src/core/mod.ts";
import { batchedSocket } from "../../src/sockets/batched_socket.ts";
import { findDescriptor } from "../../src/sockets/descriptor.ts";
import { getOption, loadLibc, setOption, SocketOption } from "../../src/sockets/libc.ts";
import { listen, type Listener } from "../../src/sockets/listen.ts";
import { openUdpSocket } from "../../src/sockets/mod.ts";
import { HAS_IPV6, loopback, pattern, Recorder, sendAll } from "./helpers.ts";
import { HAS_NAMESPACES, inNamespace, runCommand } from "./namespaces.ts";

const libc = loadLibc();
const ignore = libc === undefined;
if (ignore) console.log("skipped: batched sockets, as this machine is no Linux with FFI");

Deno.test({
  name: "findDescriptor() finds exactly the socket asked for",
  ignore,
  fn() {
    const sockets = Array.from({ length: 5 }, () => listen({}));
    // A TCP socket on the same port, and a UDP socket on the same port of another address, are others.
    const tcp = listenTcp(sockets[2]!) ?? listenTcp(sockets[3]!);
    const found = sockets.map(({ local }) => findDescriptor(libc!, local));
    assert.equal(new Set(found).size, 5);
    assert.ok(found.every((fd) => fd !== undefined));
    assert.equal(findDescriptor(libc!, addressOf("127.0.0.1", sockets[0]!.local.port)), undefined);
    tcp?.close();
    for (const { socket, local } of sockets) {
      socket.close();
      assert.equal(findDescriptor(libc!, local), undefined);
    }
  },
});

/** On the same port number; `undefined` where another program has it. */
function listenTcp({ local: { port } }: Listener): Deno.TcpListener | undefined {
  try {
    return Deno.listen({ hostname: "::", port });
  } catch {
    return undefined;
  }
}

Deno.test({
  name: "findDescriptor() finds none where two sockets share the address",
  ignore,
  fn() {
    const options = { hostname: "127.0.0.1", transport: "udp", reuseAddress: true } as const;
    const a = Deno.listenDatagram({ ...options, port: 0 });
    const { port } = a.addr as Deno.NetAddr;
    const b = Deno.listenDatagram({ ...options, port });
    assert.equal(findDescriptor(libc!, addressOf("127.0.0.1", port)), undefined);
    b.close();
    assert.notEqual(findDescriptor(libc!, addressOf("127.0.0.1", port)), undefined);
    a.close();
  },
});

Deno.test({
  name: "openUdpSocket() asks for large buffers and never fragments",
  ignore,
  fn() {
    const socket = openUdpSocket();
    const fd = findDescriptor(libc!, socket.local)!;
    // The kernel answers twice what was set (socket(7)); without privilege it sets what its limit allows.
    assert.ok(getOption(libc!, fd, SocketOption.RCVBUF)! >= 400_000);
    assert.ok(getOption(libc!, fd, SocketOption.SNDBUF)! >= 400_000);
    assert.equal(getOption(libc!, fd, SocketOption.IP_MTU_DISCOVER), 3);
    if (HAS_IPV6) assert.equal(getOption(libc!, fd, SocketOption.IPV6_MTU_DISCOVER), 3);
    socket.close();
  },
});

for (const segmentation of [true, false]) {
  Deno.test({
    name: `batchedSocket() hands on whole trains, ${segmentation ? "with" : "without"} UDP_SEGMENT`,
    ignore,
    async fn() {
      const a = batchedSocket(listen({}), { segmentation })!;
      const b = openUdpSocket();
      const seen = new Recorder();
      b.receive(seen);
      const data = pattern(200 * 1350 + 77);
      await sendAll(a, loopback(b), data, 1350);
      await seen.arrived(201);
      assert.deepEqual(new Uint8Array(seen.datagramsSeen.flatMap((d) => [...d.data])), data);
      // Deno takes the first of each batch alone; the rest comes in trains.
      assert.ok(seen.trains.length <= 40, `${seen.trains.length} trains`);
      a.close();
      b.close();
    },
  });
}

Deno.test({
  name: "BatchedSender.send() goes on singly where the kernel refuses to segment",
  ignore,
  async fn() {
    const a = openUdpSocket();
    const b = openUdpSocket();
    const seen = new Recorder();
    b.receive(seen);
    // Without checksums Linux refuses UDP_SEGMENT with EINVAL (SO_NO_CHECK, socket.h).
    assert.ok(setOption(libc!, findDescriptor(libc!, a.local)!, [1, 11], 1));
    const data = pattern(150 * 500 + 9);
    for (let round = 1; round <= 2; round++) {
      await sendAll(a, loopback(b), data, 500);
      await seen.arrived(151 * round);
    }
    assert.equal(a.counters.sendErrors, 0);
    assert.equal(a.counters.datagramsOut, 302);
    assert.deepEqual(
      new Uint8Array(seen.datagramsSeen.slice(151).flatMap((d) => [...d.data])),
      data,
    );
    a.close();
    b.close();
  },
});

Deno.test({
  name: "batchedSocket() sends and answers inside the handler, thousands at once, without loss",
  ignore,
  async fn() {
    const a = openUdpSocket();
    const b = openUdpSocket();
    const back = new Recorder();
    a.receive(back);
    b.receive({ datagrams: (data, size, from) => void b.send(from, data, size), batchEnd() {} });
    for (let round = 0; round < 40; round++) {
      await sendAll(a, loopback(b), pattern(100 * 1200, round), 1200);
      await back.arrived(100 * (round + 1));
    }
    assert.equal(back.datagramsSeen.length, 4000);
    a.close();
    b.close();
  },
});

Deno.test({
  name: "openUdpSocket() at the limits of a real interface (network namespace)",
  ignore: ignore || !HAS_NAMESPACES,
  async fn() {
    const name = `postern-sockets-${Deno.pid}`;
    await runCommand("ip", "netns", "add", name);
    try {
      await runCommand("ip", "-n", name, "link", "set", "lo", "up");
      await runCommand("ip", "-n", name, "link", "add", "v0", "type", "veth", "peer", "name", "v1");
      await runCommand("ip", "-n", name, "addr", "add", "10.91.0.1/24", "dev", "v0");
      for (const link of ["v0", "v1"]) {
        await runCommand("ip", "-n", name, "link", "set", link, "up");
      }
      const result = JSON.parse(await runCommand("ip", ...inNamespace(name, "netns_child.ts")));
      // Ten too large, lost and counted; the short last one and a train that fits still leave.
      assert.deepEqual(result.tooLarge, {
        taken: 16_100,
        sendErrors: 10,
        datagramsOut: 1,
        fits: 5 * 1472,
        out: 6,
      });
      assert.ok(result.full.sendBlocked > 0);
      assert.ok(result.full.taken < 50_000);
      assert.equal(result.full.sendErrors, 0);
      assert.deepEqual(result.unreachable, { taken: 1000, sendErrors: 10, datagramsOut: 0 });
    } finally {
      await runCommand("ip", "netns", "del", name);
    }
  },
});
