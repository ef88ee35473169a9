import assert from "node:assert/strict";
import { addressOf } from "../../src/core/mod.ts";
import { loadLibc } from "../../src/sockets/libc.ts";
import { sourceTowards, watchNetwork } from "../../src/sockets/mod.ts";
import { HAS_NAMESPACES, inNamespace, runCommand } from "./namespaces.ts";

const ignore = loadLibc() === undefined || !HAS_NAMESPACES;

Deno.test({
  name: "watchNetwork() tells of links, addresses and routes at once, and of nothing else",
  ignore,
  async fn() {
    const namespace = `postern-watch-${Deno.pid}`;
    await runCommand("ip", "netns", "add", namespace);
    try {
      const output = await runCommand("ip", ...inNamespace(namespace, "network_watch_child.ts"));
      const { results, idle, afterClose } = JSON.parse(output) as {
        results: {
          what: string;
          told: boolean;
          ms: number;
          v4: string | null;
          v6: string | null;
        }[];
        idle: number;
        afterClose: number;
      };
      for (const { what, told, ms } of results) {
        assert.ok(told, what);
        // The command's own start counts, too.
        assert.ok(ms < 500, `${what}: ${ms} ms`);
      }
      const ways = results.map(({ what, v4, v6 }) => `${what}: ${v4}, ${v6}`);
      assert.deepEqual(ways, [
        "link: null, null",
        "address: null, null",
        "route: 10.91.0.2, null",
        "IPv6: 10.91.0.2, null",
        "IPv6 route: 10.91.0.2, fd91::2",
        "down: null, null",
      ]);
      assert.deepEqual([idle, afterClose], [0, 0]);
    } finally {
      await runCommand("ip", "netns", "del", namespace);
    }
  },
});

Deno.test({
  name: "watchNetwork() leaves nothing behind when it is closed at once",
  ignore: loadLibc() === undefined,
  async fn() {
    for (let i = 0; i < 3; i++) {
      watchNetwork(() => {})?.close();
      // The thread that waits has to hear of it.
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  },
});

Deno.test({
  name: "watchNetwork() waits for jumps of the wall clock, too",
  ignore: loadLibc() === undefined,
  async fn() {
    // To set the clock for real is nothing for a test: the kernel tells what was asked of it.
    const clocks = () =>
      [...Deno.readDirSync("/proc/self/fdinfo")].filter(({ name }) => {
        try {
          const facts = Deno.readTextFileSync(`/proc/self/fdinfo/${name}`);
          return /clockid: 0\n/.test(facts) && /settime flags: 03\n/.test(facts);
        } catch {
          return false;
        }
      }).length;
    const before = clocks();
    const watch = watchNetwork(() => {});
    assert.equal(clocks(), before + 1);
    watch?.close();
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(clocks(), before);
  },
});

Deno.test({
  name: "sourceTowards() knows the way to this very machine",
  ignore: loadLibc() === undefined,
  fn() {
    assert.equal(sourceTowards(addressOf("127.0.0.1", 9)), "127.0.0.1");
  },
});
