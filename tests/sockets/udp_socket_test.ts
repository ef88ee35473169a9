/** What every real implementation of UdpSocket must do, on loopback. */
import assert from "node:assert/strict";
import { addressOf, UserError } from "../../src/core/mod.ts";
import { openUdpSocket, type UdpSocket } from "../../src/sockets/mod.ts";
import { HAS_IPV6, loopback, pattern, Recorder, sendAll } from "./helpers.ts";

const BATCHED = (() => {
  const socket = openUdpSocket();
  socket.close();
  if (socket.kind === "batched") return true;
  console.log("skipped: batched sockets, as this machine is no Linux with FFI");
  return false;
})();

/** Waits until `count` datagrams have left: nothing of the socket is under way then. */
async function settled(socket: UdpSocket, count: number): Promise<void> {
  const { counters } = socket;
  while (counters.datagramsOut + counters.sendErrors < count) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

for (const portable of [false, true]) {
  const kind = portable ? "portable" : "batched";
  const ignore = !portable && !BATCHED;

  const test = (name: string, fn: () => Promise<void>, needsIpv6 = false) =>
    Deno.test({
      name: `openUdpSocket() ${kind}: ${name}`,
      ignore: ignore || (needsIpv6 && !HAS_IPV6),
      fn,
    });

  const withPair = async (
    body: (a: UdpSocket, b: UdpSocket, seen: Recorder) => Promise<void>,
    options: { host?: string } = {},
  ) => {
    const a = openUdpSocket({ portable, ...options });
    const b = openUdpSocket({ portable, ...options });
    try {
      const seen = new Recorder();
      b.receive(seen);
      await body(a, b, seen);
    } finally {
      a.close();
      b.close();
    }
  };

  test("is of its kind and has a port", async () => {
    await withPair((a, b) => {
      assert.equal(a.kind, kind);
      assert.ok(a.local.port > 0);
      assert.notEqual(a.local.port, b.local.port);
      return Promise.resolve();
    });
  });

  test("an IPv4 peer appears as IPv4", async () => {
    await withPair(async (a, b, seen) => {
      a.send(loopback(b, 4), pattern(100), 100);
      await seen.arrived(1);
      assert.equal(seen.datagramsSeen[0]!.from, loopback(a, 4));
      assert.deepEqual(seen.datagramsSeen[0]!.data, pattern(100));
    });
  });

  test("an IPv6 peer appears as IPv6", async () => {
    await withPair(async (a, b, seen) => {
      a.send(loopback(b, 6), pattern(100), 100);
      await seen.arrived(1);
      assert.equal(seen.datagramsSeen[0]!.from, loopback(a, 6));
    });
  }, true);

  test("both families reach one socket at once, each answered on its own", async () => {
    await withPair(async (a, b, seen) => {
      const back = new Recorder();
      a.receive(back);
      a.send(loopback(b, 4), pattern(10, 1), 10);
      a.send(loopback(b, 6), pattern(20, 2), 20);
      await seen.arrived(2);
      for (const { from, data } of seen.datagramsSeen) b.send(from, data, data.length);
      await back.arrived(2);
      const got = back.datagramsSeen.map(({ from, data }) => `${from.key} ${data.length}`).sort();
      assert.deepEqual(got, [`${loopback(b, 4).key} 10`, `${loopback(b, 6).key} 20`].sort());
    });
  }, true);

  test("binds IPv4 alone, and counts IPv6 as lost", async () => {
    await withPair(async (a, b, seen) => {
      assert.equal(a.local.host, "127.0.0.1");
      assert.equal(a.send(addressOf("::1", b.local.port), pattern(250), 100), 250);
      assert.equal(a.counters.sendErrors, 3);
      a.send(loopback(b), pattern(5), 5);
      await seen.arrived(1);
      assert.equal(seen.datagramsSeen[0]!.from.key, a.local.key);
    }, { host: "127.0.0.1" });
  });

  test("carries trains of 1 to 200 datagrams with a short last one", async () => {
    await withPair(async (a, b, seen) => {
      // Small enough for 200 of them to fit the system's own receive buffer, which a portable socket cannot enlarge.
      const size = portable ? 200 : 1200;
      let expected = 0;
      for (const count of [1, 2, 3, 47, 63, 64, 65, 127, 128, 129, 200]) {
        for (const last of [1, size / 2, size]) {
          const data = pattern((count - 1) * size + last, count);
          const first = expected;
          await sendAll(a, loopback(b), data, size);
          expected += count;
          await seen.arrived(expected);
          const sizes = seen.datagramsSeen.slice(first).map((d) => d.data.length);
          assert.deepEqual(sizes, [...Array(count - 1).fill(size), last]);
          const whole = seen.datagramsSeen.slice(first).flatMap((d) => [...d.data]);
          assert.deepEqual(new Uint8Array(whole), data);
        }
      }
      assert.equal(a.counters.datagramsOut, expected);
      assert.equal(b.counters.datagramsIn, expected);
      assert.equal(a.counters.bytesOut, b.counters.bytesIn);
    });
  });

  test("never glues or splits datagrams, whatever their sizes", async () => {
    await withPair(async (a, b, seen) => {
      const sizes = Array.from(
        { length: 400 },
        (_, i) => [1, 40, 1200, 1200, 1472, 9000, 33][i % 7]!,
      );
      for (const [i, size] of sizes.entries()) {
        await sendAll(a, loopback(b), pattern(size, i), size);
        if (i % 50 === 49) await seen.arrived(i + 1);
      }
      await seen.arrived(sizes.length);
      for (const [i, { data }] of seen.datagramsSeen.entries()) {
        assert.deepEqual(data, pattern(sizes[i]!, i), `datagram ${i}`);
      }
    });
  });

  test("takes a datagram of 65,507 bytes and loses a larger one", async () => {
    await withPair(async (a, b, seen) => {
      await sendAll(a, loopback(b), pattern(65_507), 65_507);
      await seen.arrived(1);
      assert.deepEqual(seen.datagramsSeen[0]!.data, pattern(65_507));
      assert.equal(a.send(loopback(b), pattern(70_000), 70_000), 70_000);
      await sendAll(a, loopback(b), pattern(10), 10);
      await seen.arrived(2);
      assert.equal(a.counters.sendErrors, 1);
      assert.equal(seen.datagramsSeen.length, 2);
    });
  });

  test("splits trains of large datagrams", async () => {
    await withPair(async (a, b, seen) => {
      const data = pattern(10 * 20_000);
      await sendAll(a, loopback(b), data, 20_000);
      await seen.arrived(10);
      assert.deepEqual(seen.datagramsSeen.map((d) => d.data.length), Array(10).fill(20_000));
    });
  });

  test("hands on no empty datagram", async () => {
    await withPair(async (a, b, seen) => {
      const raw = Deno.listenDatagram({ hostname: "127.0.0.1", port: 0, transport: "udp" });
      try {
        const to = { transport: "udp" as const, hostname: "127.0.0.1", port: b.local.port };
        for (let i = 0; i < 5; i++) await raw.send(new Uint8Array(0), to);
        a.send(loopback(b), pattern(3), 3);
        await seen.arrived(1);
        assert.equal(seen.datagramsSeen.length, 1);
      } finally {
        raw.close();
      }
    });
  });

  test("a peer that refuses (ICMP) does not end it", async () => {
    await withPair(async (a, b, seen) => {
      const back = new Recorder();
      a.receive(back);
      const gone = openUdpSocket({ portable });
      const nobody = loopback(gone);
      gone.close();
      for (let i = 0; i < 20; i++) await sendAll(a, nobody, pattern(30), 10);
      await sendAll(a, loopback(b), pattern(7), 7);
      await seen.arrived(1);
      b.send(loopback(a), pattern(8), 8);
      await back.arrived(1);
    });
  });

  test("data may be reused as soon as send returns", async () => {
    await withPair(async (a, b, seen) => {
      const data = pattern(1000);
      assert.equal(a.send(loopback(b), data, 100), 1000);
      data.fill(0);
      await seen.arrived(10);
      assert.deepEqual(seen.datagramsSeen[9]!.data, pattern(1000).slice(900));
    });
  });

  test("sends from a view inside a buffer and from a tiny array", async () => {
    await withPair(async (a, b, seen) => {
      a.send(loopback(b), pattern(5000).subarray(1234, 1300), 33);
      a.send(loopback(b), Uint8Array.of(7), 1);
      await seen.arrived(3);
      assert.deepEqual(seen.datagramsSeen[1]!.data, pattern(5000).slice(1267, 1300));
      assert.deepEqual(seen.datagramsSeen[2]!.data, Uint8Array.of(7));
    });
  });

  test("full: takes less, then the rest after writable()", async () => {
    const a = openUdpSocket({ portable, bufferBytes: 4096 });
    const b = openUdpSocket({ portable });
    try {
      const seen = new Recorder();
      b.receive(seen);
      // Far more than either the smallest kernel buffer or the portable socket's bound takes at once.
      const data = pattern(2000 * 1000);
      const taken = a.send(loopback(b), data, 1000);
      if (taken < data.length) {
        assert.equal(taken % 1000, 0);
        assert.ok(a.counters.sendBlocked > 0);
      } else assert.equal(kind, "batched");
      for (let offset = taken; offset < data.length;) {
        await a.writable();
        offset += a.send(loopback(b), data.subarray(offset, offset + 64_000), 1000);
      }
      await settled(a, 2000);
    } finally {
      a.close();
      b.close();
    }
  });

  test("what was sent before close() still leaves", async () => {
    const a = openUdpSocket({ portable });
    const b = openUdpSocket({ portable });
    try {
      const seen = new Recorder();
      b.receive(seen);
      assert.equal(a.send(loopback(b), pattern(100 * 50), 50), 5000);
      a.close();
      await seen.arrived(100);
    } finally {
      a.close();
      b.close();
    }
  });

  test("a flood leaves the event loop its turns", async () => {
    await withPair(async (a, b, seen) => {
      const neighbour = Deno.listenDatagram({ hostname: "127.0.0.1", port: 0, transport: "udp" });
      let flooding = true;
      // Each datagram makes three more: without turns, this loop would never let go, and the test never end.
      a.receive({
        datagrams(data, size, from) {
          for (let i = 0; i < 3 && flooding; i++) a.send(from, data, size);
        },
        batchEnd() {},
      });
      for (let i = 0; i < 30; i++) a.send(loopback(a), pattern(50), 50);
      const heard = neighbour.receive();
      await neighbour.send(Uint8Array.of(1), neighbour.addr);
      await heard;
      await new Promise((resolve) => setTimeout(resolve, 5));
      assert.ok(a.counters.datagramsIn > 64);
      flooding = false;
      b.send(loopback(b), pattern(1), 1);
      await seen.arrived(1);
      neighbour.close();
    });
  });

  test("close() during receive and writable ends both, twice is once", async () => {
    const socket = openUdpSocket({ portable });
    socket.receive(new Recorder());
    const writable = socket.writable();
    await Promise.resolve();
    socket.close();
    socket.close();
    await writable;
    await socket.writable();
    assert.equal(socket.send(loopback(socket), pattern(10), 10), 10);
  });

  test("close() inside the handler stops handing on", async () => {
    const a = openUdpSocket({ portable });
    const b = openUdpSocket({ portable });
    let after = 0;
    const { promise, resolve } = Promise.withResolvers<void>();
    let closed = false;
    b.receive({
      datagrams() {
        if (closed) after++;
        closed = true;
        b.close();
        resolve();
      },
      batchEnd() {
        if (closed) after++;
      },
    });
    for (let i = 0; i < 20; i++) await sendAll(a, loopback(b), pattern(100 + i), 100 + i);
    await promise;
    a.close();
    await new Promise((done) => setTimeout(done, 5));
    assert.equal(after, 0);
  });

  test("receive() twice and a wrong size are the caller's errors", async () => {
    await withPair((a, b) => {
      assert.throws(() => b.receive(new Recorder()), TypeError);
      for (const size of [0, -1, 1.5, NaN]) {
        assert.throws(() => a.send(loopback(b), pattern(10), size), RangeError);
      }
      assert.equal(a.send(loopback(b), new Uint8Array(0), 0), 0);
      return Promise.resolve();
    });
  });

  test("a taken port is a clear error", async () => {
    await withPair((a) => {
      assert.throws(() => openUdpSocket({ portable, port: a.local.port }), (error) => {
        assert.ok(error instanceof UserError);
        assert.equal(
          error.message,
          `Cannot listen on UDP [::]:${a.local.port} as another program uses it`,
        );
        assert.match(error.next!, /--listen/);
        return true;
      });
      return Promise.resolve();
    });
  }, true);

  test("an address of another machine is a clear error", () => {
    assert.throws(
      () => openUdpSocket({ portable, host: "192.0.2.1" }),
      /Cannot listen on UDP 192\.0\.2\.1:0 as no interface of this machine has that address/,
    );
    return Promise.resolve();
  });
}
