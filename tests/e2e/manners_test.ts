/**
 * How roles come and go: each waits for the others, ends in good order when asked and at once when told, comes back from a
 * crash by itself, and says plainly when the disk is full or may not be written to.
 * @module
 */
import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import {
  eventually,
  freePort,
  inScene,
  isLinuxRoot,
  isReadyToRun,
  lacks,
  openAll,
  program,
  run,
  type Scene,
  serveTcp,
} from "./harness.ts";
import { writeAll } from "./stage.ts";

const CHUNK = "0123456789abcdef".repeat(64);

/** A service that takes about two seconds to say twenty things, and then ends. */
function startSlow(scene: Scene): number {
  return serveTcp(scene, async (conn) => {
    try {
      for (let i = 0; i < 20; i++) {
        await writeAll(conn, new TextEncoder().encode(CHUNK));
        await delay(100);
      }
      conn.close();
    } catch {
      // Cut off.
    }
  });
}

/** Everything until the end; how it ended. */
async function readToEnd(conn: Deno.Conn): Promise<{ bytes: number; end: string }> {
  const buffer = new Uint8Array(65_536);
  let bytes = 0;
  try {
    for (let n = await conn.read(buffer); n !== null; n = await conn.read(buffer)) bytes += n;
    return { bytes, end: "an end" };
  } catch (error) {
    return { bytes, end: (error as Error).name };
  } finally {
    conn.close();
  }
}

const WHOLE = { bytes: 20 * CHUNK.length, end: "an end" };

for (const who of ["agent", "connector"] as const) {
  Deno.test({
    name: `SIGTERM to the ${who} lets a live transfer finish, takes no new one, and ends with 0`,
    ignore: !isReadyToRun() || Deno.build.os === "windows",
    fn: () =>
      inScene(async (scene) => {
        const ports = await openAll(scene, { slow: startSlow(scene) });
        const dial = () => Deno.connect({ hostname: "127.0.0.1", port: ports["slow"]! });
        const transfer = readToEnd(await dial());
        await delay(300);
        const process = scene.processes.find(({ title }) => title === who)!;
        const stopped = process.stop("SIGTERM", 20_000);
        await process.line(/draining/);
        const late = await dial().then(readToEnd, () => ({ bytes: 0, end: "refused" }));
        assert.equal(late.bytes, 0, "nothing new is begun");
        assert.deepEqual(await transfer, WHOLE);
        assert.equal(await stopped, 0, process.output());
      }),
  });
}

Deno.test({
  name: "a second signal ends every role at once, live transfers or not",
  ignore: !isReadyToRun() || Deno.build.os === "windows",
  fn: () =>
    inScene(async (scene) => {
      const held: Deno.Conn[] = [];
      scene.atEnd(() => held.forEach((conn) => conn.close()));
      const ports = await openAll(scene, {
        held: serveTcp(scene, (conn) => Promise.resolve(held.push(conn))),
      });
      const conn = await Deno.connect({ hostname: "127.0.0.1", port: ports["held"]! });
      await eventually("the connection at the service", () => held[0], { everyMs: 10 });
      for (const title of ["agent", "connector"]) {
        const process = scene.processes.find((process) => process.title === title)!;
        process.signal("SIGTERM");
        await process.line(/draining/);
        const since = Date.now();
        process.signal("SIGINT");
        assert.equal(await process.status(), 130, process.output());
        assert.ok(Date.now() - since < 2_000, "at once");
        if (title === "agent") assert.equal((await readToEnd(conn)).bytes, 0);
      }
    }),
});

Deno.test({
  name: "SIGTERM ends a role in good order, too, while it waits for a relay that is not there",
  ignore: !isReadyToRun() || Deno.build.os === "windows",
  fn: () =>
    inScene(async (scene) => {
      const relay = await scene.startRelay();
      const invite = await scene.invite(relay, "agent", "alice", ["web"]);
      await relay.process.stop();
      const { process } = scene.startAgent({ invite, services: ["web"] });
      await process.line(/waiting for the relay/);
      const since = Date.now();
      assert.equal(await process.stop(), 0, process.output());
      assert.ok(Date.now() - since < 3_000, "soon");
      assert.doesNotMatch(process.output(), /^postern: /m, "it is no failure");
    }),
});

Deno.test({
  name: "killed in mid-transfer, a role takes no part for the whole, and comes back from its state",
  ignore: !isReadyToRun() || Deno.build.os === "windows",
  fn: () =>
    inScene(async (scene) => {
      const target = startSlow(scene);
      const relay = await scene.startRelay();
      const home = await scene.invite(relay, "connector", "home", ["slow"]);
      const alice = await scene.invite(relay, "agent", "alice", ["slow"]);
      let connector = scene.startConnector({
        invite: home,
        services: [`slow=127.0.0.1:${target}`],
      });
      const agent = scene.startAgent({ invite: alice, services: ["slow"] });
      await Promise.all([connector.ready(), agent.process.ready()]);
      const port = agent.ports["slow"]!;
      const dial = () => Deno.connect({ hostname: "127.0.0.1", port });

      // The relay dies and comes back: whoever is talking goes on talking.
      const through = readToEnd(await dial());
      await delay(300);
      await relay.process.kill();
      await scene.startRelay({ state: relay.state, port: relay.port });
      assert.deepEqual(await through, WHOLE, "a relay's crash costs no byte");

      // The connector dies: its transfers are cut, and seen to be.
      const cut = readToEnd(await dial());
      await delay(300);
      await connector.kill();
      connector = scene.startConnector({});
      const { bytes, end } = await cut;
      assert.equal(end, "ConnectionReset");
      assert.ok(bytes < WHOLE.bytes);
      await eventually("a transfer after the connector's crash", async () => {
        const got = await readToEnd(await dial());
        return got.bytes === WHOLE.bytes ? true : undefined;
      });

      // The agent dies, and its address in the relay's table with it.
      await agent.process.kill();
      const again = scene.startAgent({ services: ["slow"], ports: { slow: port } });
      await again.process.ready();
      assert.deepEqual(await readToEnd(await dial()), WHOLE);
    }),
});

Deno.test({
  name: "a read-only state folder is refused in words",
  ignore: !isReadyToRun() || lacks("read-only state folder", "unshare") || notRoot("read-only"),
  fn: () =>
    inScene(async (scene) => {
      const relay = await scene.startRelay();
      const home = await scene.invite(relay, "connector", "home", ["web"]);
      const first = scene.startConnector({ invite: home, services: ["web=127.0.0.1:9"] });
      await first.ready();
      await first.stop();
      await relay.process.stop();
      const commands = {
        relay: `relay --state ${relay.state} --listen 127.0.0.1:${freePort()}`,
        connector: `connector --state ${scene.path("connector")}`,
        invite: `invite --state ${relay.state} agent bob --allow web`,
        new: `relay --state ${scene.path("new")} --listen 127.0.0.1:${freePort()}`,
      };
      for (const [what, words] of Object.entries(commands)) {
        const done = await inReadOnly(scene, words.split(" "));
        assert.equal(done.code, 1, done.stdout + done.stderr);
        assert.match(done.stderr, /read-only file system/, what);
        assert.match(done.stderr, /--state/, "it says what to do");
        assert.doesNotMatch(done.stderr, /^\s+at .*:\d+:\d+/m, "no stack");
      }
    }),
});

/** Runs `postern …` where the scene's folder cannot be written to: in a mount namespace, as root may write anywhere else. */
function inReadOnly(scene: Scene, args: readonly string[]) {
  const script = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"';
  const { command, args: before } = program();
  return run(
    "unshare",
    ["-m", "sh", "-c", script, "sh", scene.folder, command, ...before, ...args],
    {
      withinMs: 30_000,
    },
  );
}

/** For a test's `ignore`. */
function notRoot(test: string): boolean {
  if (!isLinuxRoot()) console.log(`skipped: ${test}: needs Linux and root`);
  return !isLinuxRoot();
}

Deno.test({
  name: "a full disk is named at the relay and to who joins; what runs goes on",
  ignore: !isReadyToRun() || lacks("full disk", "mount", "umount") || notRoot("full disk"),
  fn: () =>
    inScene(async (scene) => {
      const disk = scene.path("disk");
      await Deno.mkdir(disk);
      const mounted = await run("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", disk]);
      assert.equal(mounted.code, 0, mounted.stderr);
      scene.atEnd(async () => void await run("umount", ["-l", disk]));
      const echo = serveTcp(scene, async (conn) => {
        const buffer = new Uint8Array(1024);
        for (let n = await conn.read(buffer); n !== null; n = await conn.read(buffer)) {
          await writeAll(conn, buffer.subarray(0, n));
        }
        conn.close();
      });
      const relay = await scene.startRelay({ state: `${disk}/relay` });
      const home = await scene.invite(relay, "connector", "home", ["echo"]);
      const alice = await scene.invite(relay, "agent", "alice", ["echo"]);
      const bob = await scene.invite(relay, "agent", "bob", ["echo"]);
      const connector = scene.startConnector({
        state: `${disk}/connector`,
        invite: home,
        services: [`echo=127.0.0.1:${echo}`],
      });
      const agent = scene.startAgent({ invite: alice, services: ["echo"] });
      await Promise.all([connector.ready(), agent.process.ready()]);
      const hello = async () => {
        const conn = await Deno.connect({ hostname: "127.0.0.1", port: agent.ports["echo"]! });
        await writeAll(conn, new TextEncoder().encode("hello"));
        const buffer = new Uint8Array(5);
        const n = await conn.read(buffer);
        conn.close();
        return new TextDecoder().decode(buffer.subarray(0, n ?? 0));
      };
      assert.equal(await hello(), "hello");

      // Now there is no room for anything at all.
      await run("sh", ["-c", 'dd if=/dev/zero of="$1/filler" bs=1k 2>/dev/null', "sh", disk]);
      assert.equal(await hello(), "hello", "what runs goes on");
      const invited = await scene.postern(
        ["invite", "--state", relay.state, "agent", "carol", "--allow", "echo"],
        { withinMs: 30_000 },
      );
      assert.equal(invited.code, 1, invited.stdout + invited.stderr);
      assert.match(invited.stderr, /space|full/, invited.stderr);
      assert.doesNotMatch(invited.stderr, /^\s+at .*:\d+:\d+/m, "no stack");
      const late = scene.startAgent({
        state: scene.path("bob"),
        invite: bob,
        services: ["echo"],
      });
      await eventually("the relay's word about it", () =>
        /space|full/.test(relay.process.output()) ? true : undefined, { withinMs: 15_000 });
      assert.equal(await hello(), "hello", "what runs goes on");
      assert.ok(!relay.process.ended && !connector.ended);

      // With room again, who waited comes in: the invite is not lost.
      await Deno.remove(`${disk}/filler`);
      await late.process.ready();
      assert.equal(await hello(), "hello");
    }),
});
