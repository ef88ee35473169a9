/** Answers leave from the address that was asked: on loopback with made-up addresses, and between real interfaces. */
import assert from "node:assert/strict";
import { addressOf } from "../../src/core/mod.ts";
import { loadLibc } from "../../src/sockets/libc.ts";
import { listen } from "../../src/sockets/listen.ts";
import { openUdpSocket, type UdpSocket } from "../../src/sockets/mod.ts";
import { type MultiHomedOptions, multiHomedSocket } from "../../src/sockets/multi_homed_socket.ts";
import { pattern, Recorder, sendAll } from "./helpers.ts";
import { HAS_NAMESPACES, runCommand, startInNamespace } from "./namespaces.ts";

const ignore = loadLibc() === undefined;
if (ignore) console.log("skipped: answers from the asked address, as this is no Linux with FFI");

/** 127.0.0.1 writes to 127.0.0.2: left alone, Linux answers from 127.0.0.1, where the question came from. */
const ASKER = { host: "127.0.0.1" };

/** A socket that takes `hosts` for this machine's addresses, and answers with what it got, at the end of each batch. */
function echo(hosts: string[], options: MultiHomedOptions = {}): UdpSocket {
  const socket = multiHomedSocket(listen({ host: "0.0.0.0" }), {
    own: () => hosts.map((address) => ({ address })),
    choose: (own) => own.map(({ address }) => address),
    ...options,
  })!;
  let answers: (() => void)[] = [];
  socket.receive({
    datagrams(data, segmentSize, from) {
      const copy = data.slice();
      answers.push(() => void socket.send(from, copy, segmentSize));
    },
    batchEnd() {
      for (const answer of answers.splice(0)) answer();
      answers = [];
    },
  });
  return socket;
}

/** Asks `host` from a new socket; answers where the answer came from. */
async function ask(socket: UdpSocket, host: string): Promise<string> {
  const asker = openUdpSocket(ASKER);
  const seen = new Recorder();
  asker.receive(seen);
  asker.send(addressOf(host, socket.local.port), pattern(10), 10);
  await seen.arrived(1);
  asker.close();
  return seen.datagramsSeen[0]!.from.key;
}

Deno.test({
  name: "multiHomedSocket() answers a peer's first datagram from the address that it asked",
  ignore,
  async fn() {
    const socket = echo(["127.0.0.2", "127.0.0.3"]);
    const { port } = socket.local;
    assert.equal(await ask(socket, "127.0.0.2"), `127.0.0.2:${port}`);
    assert.equal(await ask(socket, "127.0.0.3"), `127.0.0.3:${port}`);
    // One that has no socket of its own: what the system prefers, which shows that the others are not by chance.
    assert.equal(await ask(socket, "127.0.0.4"), `127.0.0.1:${port}`);
    assert.equal(socket.counters.datagramsIn, 3);
    assert.equal(socket.counters.datagramsOut, 3);
    socket.close();
    socket.close();
  },
});

Deno.test({
  name: "multiHomedSocket() follows a peer that asks one address after another, in trains",
  ignore,
  async fn() {
    const socket = echo(["127.0.0.2", "127.0.0.3"]);
    const { port } = socket.local;
    const asker = openUdpSocket(ASKER);
    const seen = new Recorder();
    asker.receive(seen);
    let count = 0;
    for (const host of ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.3", "127.0.0.2"]) {
      await sendAll(asker, addressOf(host, port), pattern(100 * 1200), 1200);
      await seen.arrived(count += 100);
      const from = host === "127.0.0.4" ? "127.0.0.1" : host;
      for (const datagram of seen.datagramsSeen.slice(-100)) {
        assert.equal(datagram.from.key, `${from}:${port}`);
      }
      // Unasked, and from another object of the same address.
      socket.send({ ...addressOf("127.0.0.1", asker.local.port) }, pattern(5), 5);
      await seen.arrived(++count);
      assert.equal(seen.datagramsSeen.at(-1)!.from.key, `${from}:${port}`);
    }
    asker.close();
    socket.close();
  },
});

Deno.test({
  name: "multiHomedSocket() takes up addresses that come, and lets go of those that have gone",
  ignore,
  async fn() {
    const hosts = ["127.0.0.2"];
    const looked: (() => void)[] = [];
    const socket = echo(hosts, {
      own() {
        for (const resolve of looked.splice(0)) resolve();
        return hosts.map((address) => ({ address }));
      },
      lookInterval: 5,
    });
    const { port } = socket.local;
    // Two looks from now: the first may have been under way.
    const look = async () => {
      for (let i = 0; i < 2; i++) await new Promise<void>((resolve) => looked.push(resolve));
    };
    assert.equal(await ask(socket, "127.0.0.3"), `127.0.0.1:${port}`);
    hosts.push("127.0.0.3", "192.0.2.77"); // The last one is not of this machine: it is left aside.
    await look();
    assert.equal(await ask(socket, "127.0.0.3"), `127.0.0.3:${port}`);
    hosts.shift();
    await look();
    assert.equal(await ask(socket, "127.0.0.2"), `127.0.0.1:${port}`);
    assert.equal(await ask(socket, "127.0.0.3"), `127.0.0.3:${port}`);
    socket.close();
  },
});

Deno.test({
  name: "multiHomedSocket() shares its port with nobody, and frees it",
  ignore,
  async fn() {
    const socket = echo(["127.0.0.2", "127.0.0.3"]);
    const { port } = socket.local;
    for (const hostname of ["0.0.0.0", "127.0.0.2", "127.0.0.4"]) {
      for (const reuseAddress of [true, false]) {
        assert.throws(
          () => Deno.listenDatagram({ hostname, port, transport: "udp", reuseAddress }),
          Deno.errors.AddrInUse,
        );
      }
    }
    socket.close();
    // Deno lets go of a socket that is waited on at the next turn.
    await new Promise((resolve) => setTimeout(resolve));
    for (const host of ["0.0.0.0", "127.0.0.2"]) openUdpSocket({ host, port }).close();
  },
});

Deno.test({
  name: "openUdpSocket() answers from the asked address of two in each family (network namespaces)",
  ignore: ignore || !HAS_NAMESPACES,
  async fn() {
    const [here, there] = ["a", "b"].map((end) => `postern-sockets-${Deno.pid}${end}`);
    const addresses = ["10.92.0.1", "10.92.0.2", "10.92.0.3", "fd92::1", "fd92::2", "fd92::3"];
    const ip = (...args: string[]) => runCommand("ip", ...args);
    await ip("netns", "add", here!);
    await ip("netns", "add", there!);
    try {
      await ip("-n", here!, "link", "add", "v0", "type", "veth", "peer", "v0", "netns", there!);
      for (const name of [here!, there!]) {
        await ip("-n", name, "link", "set", "lo", "up");
        await ip("-n", name, "link", "set", "v0", "up");
      }
      const add = (namespace: string, host: string) =>
        host.includes(":")
          ? ip("-n", namespace, "addr", "add", `${host}/64`, "dev", "v0", "nodad")
          : ip("-n", namespace, "addr", "add", `${host}/24`, "dev", "v0");
      await add(there!, "10.92.0.9");
      await add(there!, "fd92::9");
      // The third of each family comes later, while the socket is open.
      const late = addresses.filter((host) => host.endsWith("3"));
      for (const host of addresses) if (!late.includes(host)) await add(here!, host);
      const server = startInNamespace(here!, "echo_child.ts");
      const { port } = await server.line() as { port: number };
      const asked = async () => {
        const asker = startInNamespace(there!, "ask_child.ts", String(port), ...addresses);
        const answers = await asker.line();
        await asker.stop();
        return answers as Record<string, string>;
      };
      const wanted = (host: string) => host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
      const before = await asked();
      for (const host of addresses) {
        assert.equal(before[host], late.includes(host) ? "none" : wanted(host));
      }
      for (const host of late) await add(here!, host);
      // The next look at the interfaces is two seconds away at most; the tries end much later.
      let after = await asked();
      for (let i = 0; i < 50 && late.some((host) => after[host] !== wanted(host)); i++) {
        await new Promise((resolve) => setTimeout(resolve, 200));
        after = await asked();
      }
      assert.deepEqual(after, Object.fromEntries(addresses.map((host) => [host, wanted(host)])));
      await server.stop();
    } finally {
      await ip("netns", "del", here!);
      await ip("netns", "del", there!);
    }
  },
});
