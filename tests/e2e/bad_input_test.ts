/**
 * Bad input from outside, at real processes: each is refused in words, and hurts nobody else.
 * @module
 */
import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import {
  type Finished,
  freePort,
  inScene,
  isReadyToRun,
  lacks,
  openAll,
  run,
  type Scene,
  serveTcp,
} from "./harness.ts";
import { resetConn } from "../../src/mux/tcp_reset.ts";

/** A command that should refuse at once must not run on instead. */
const REFUSED_WITHIN_MS = 20_000;

/** Refused in words that a person understands: no stack, one cause, the exit code for it. */
function assertRefused(done: Finished, code: number, words: RegExp): void {
  assert.equal(done.code, code, `${done.stdout}${done.stderr}`);
  assert.match(done.stderr, words);
  assert.doesNotMatch(done.stderr, /^\s+at .*:\d+:\d+/m, "no stack");
}

function refused(scene: Scene, args: readonly string[]): Promise<Finished> {
  return scene.postern(args, { withinMs: REFUSED_WITHIN_MS });
}

Deno.test({
  name: "invites: garbled, cut, used, expired, for the other role",
  ignore: !isReadyToRun(),
  fn: () =>
    inScene(async (scene) => {
      const relay = await scene.startRelay();
      const file = await scene.invite(relay, "connector", "home", ["web"]);
      const token = (await Deno.readTextFile(file)).trim();
      const join = (role: string, state: string, text: string, word = "web=127.0.0.1:9") => {
        const invite = scene.path(`${state}.token`);
        Deno.writeTextFileSync(invite, text);
        const where = ["--state", scene.path(state)];
        return refused(scene, [role, ...where, "--invite-file", invite, word]);
      };
      assertRefused(await join("connector", "empty", ""), 1, /invite/i);
      assertRefused(await join("connector", "garbled", "hello"), 1, /invite/i);
      assertRefused(await join("connector", "binary", "\0\u{1F980}\n\n"), 1, /invite/i);
      assertRefused(await join("connector", "cut", token.slice(0, -5)), 1, /invite/i);
      const middle = Math.floor(token.length / 2);
      const other = token[middle] === "A" ? "B" : "A";
      const bent = token.slice(0, middle) + other + token.slice(middle + 1);
      assertRefused(await join("connector", "bent", bent), 1, /invite/i);
      const port = freePort();
      assertRefused(await join("agent", "wrong", token, `web=${port}`), 1, /connector/);

      const first = scene.startConnector({ invite: file, services: ["web=127.0.0.1:9"] });
      await first.ready();
      assertRefused(await join("connector", "again", token), 1, /used/);

      const args = ["invite", "--state", relay.state, "agent", "late", "--allow", "web"];
      const short = await scene.postern([...args, "--ttl", "1s"]);
      await delay(1_500);
      assertRefused(await join("agent", "late", short.stdout, `web=${port}`), 1, /expired/);
    }),
});

Deno.test({
  name: "command lines: no such service name, flag, command, port or role's state",
  ignore: !isReadyToRun(),
  fn: () =>
    inScene(async (scene) => {
      const state = ["--state", scene.path("s")];
      const names = ["../etc", "Web", "a".repeat(64), "", "a b", "web\u00a0", "é"];
      for (const name of names) {
        const said = await refused(scene, ["connector", ...state, `${name}=127.0.0.1:80`]);
        assertRefused(said, 2, /name|service/i);
        const invited = ["invite", ...state, "agent", "alice", "--allow", name];
        assertRefused(await refused(scene, invited), 2, /name|service|--allow/i);
      }
      assertRefused(await refused(scene, ["relay", "--lisen", "[::]:1"]), 2, /--listen/);
      assertRefused(await refused(scene, ["conector"]), 2, /connector/);
      assertRefused(
        await refused(scene, ["relay", ...state, "--listen", "[::]:70000"]),
        2,
        /70000/,
      );
      assertRefused(await refused(scene, ["connector", ...state, "web=127.0.0.1:80"]), 1, /invite/);
      assertRefused(await refused(scene, ["status", ...state]), 1, /./);
    }),
});

Deno.test({
  name: "ports in use: at the relay (UDP or TCP) and at the agent",
  ignore: !isReadyToRun(),
  fn: () =>
    inScene(async (scene) => {
      const hostname = "127.0.0.1";
      using tcp = Deno.listen({ hostname, port: 0 });
      const busyTcp = (tcp.addr as Deno.NetAddr).port;
      const udp = Deno.listenDatagram({ transport: "udp", hostname, port: 0 });
      scene.atEnd(() => udp.close());
      const busyUdp = (udp.addr as Deno.NetAddr).port;
      for (const port of [busyTcp, busyUdp]) {
        const args = [
          "relay",
          "--state",
          scene.path(`r${port}`),
          "--listen",
          `${hostname}:${port}`,
        ];
        assertRefused(
          await refused(scene, args),
          1,
          new RegExp(`${port} as another program uses it`),
        );
      }
      const relay = await scene.startRelay();
      const invite = await scene.invite(relay, "agent", "alice", ["web"]);
      const words = ["--invite-file", invite, `web=127.0.0.1:${busyTcp}`];
      const said = await refused(scene, ["agent", "--state", scene.path("a"), ...words]);
      assertRefused(said, 1, new RegExp(`${busyTcp}.* in use`));
    }),
});

Deno.test({
  name: "state folders: a file instead, a database that is none, one from a newer version",
  ignore: !isReadyToRun(),
  fn: () =>
    inScene(async (scene) => {
      const start = (state: string) =>
        refused(scene, ["relay", "--state", state, "--listen", `127.0.0.1:${freePort()}`]);
      await Deno.writeTextFile(scene.path("file"), "not a folder");
      assertRefused(await start(scene.path("file")), 1, /folder|directory/i);
      assertRefused(await start("/proc/nothing/here"), 1, /\/proc\/nothing/);

      const { state, process } = await scene.startRelay();
      await process.stop();
      const database = [...Deno.readDirSync(state)].map((entry) => entry.name)
        .find((name) => /\.(db|sqlite3?)$/.test(name));
      assert.ok(database, "the relay keeps a database");
      const { DatabaseSync } = await import("node:sqlite");
      const opened = new DatabaseSync(`${state}/${database}`);
      opened.exec("PRAGMA user_version = 4000");
      opened.close();
      assertRefused(await start(state), 1, /newer/);
      await Deno.writeTextFile(`${state}/${database}`, "no database at all ".repeat(1000));
      assertRefused(await start(state), 1, /database/i);
    }),
});

Deno.test({
  name: "targets that refuse, hang or reset: the application learns it, the others go on",
  ignore: !isReadyToRun() || lacks("bad targets", "curl"),
  fn: () =>
    inScene(async (scene) => {
      const held: Deno.TcpConn[] = [];
      scene.atEnd(() => held.forEach((connection) => connection.close()));
      const answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
      const ports = await openAll(scene, {
        good: serveTcp(scene, async (connection) => {
          await connection.read(new Uint8Array(4096));
          await connection.write(new TextEncoder().encode(answer));
          connection.close();
        }),
        refuses: freePort(),
        hangs: serveTcp(scene, (connection) => Promise.resolve(held.push(connection))),
        resets: serveTcp(scene, async (connection) => {
          await connection.write(new TextEncoder().encode("HTTP/1.1 200 OK\r\ncontent-len"));
          await delay(300);
          resetConn(connection);
        }),
      });
      const ask = (service: string) =>
        run("curl", ["-sS", "--fail", "--max-time", "5", `http://127.0.0.1:${ports[service]}/`]);
      const [hung, refusedAt, reset, good] = await Promise.all(
        ["hangs", "refuses", "resets", "good"].map(ask),
      );
      assert.equal(good!.stdout, "ok", good!.stderr);
      // 28: out of time; 52: nothing received; 56: reset while receiving; 18: less than announced.
      assert.equal(hung!.code, 28, hung!.stderr);
      assert.ok([52, 56].includes(refusedAt!.code), `${refusedAt!.code} ${refusedAt!.stderr}`);
      assert.ok([18, 52, 56].includes(reset!.code), `${reset!.code} ${reset!.stderr}`);
      assert.equal((await ask("good")).stdout, "ok");
    }),
});

Deno.test({
  name: "random and truncated datagrams at every socket change nothing",
  ignore: !isReadyToRun() || lacks("random datagrams", "curl"),
  fn: () =>
    inScene(async (scene) => {
      const server = Deno.serve(
        { hostname: "127.0.0.1", port: 0, onListen: () => {} },
        () => new Response("ok"),
      );
      scene.atEnd(() => server.shutdown());
      const relay = await scene.startRelay();
      const home = await scene.invite(relay, "connector", "home", ["web"]);
      const alice = await scene.invite(relay, "agent", "alice", ["web"]);
      const sockets = [freePort(), freePort(), freePort(), freePort()];
      const flags = (
        at: number,
      ) => ["--relay-port", `${sockets[at]}`, "--p2p-port", `${sockets[at + 1]}`];
      const target = `web=127.0.0.1:${server.addr.port}`;
      const connector = scene.startConnector({ invite: home, services: [target], args: flags(0) });
      const agent = scene.startAgent({ invite: alice, services: ["web"], args: flags(2) });
      await Promise.all([connector.ready(), agent.process.ready()]);
      const page = () =>
        run("curl", [
          "-sS",
          "--fail",
          "--max-time",
          "10",
          `http://127.0.0.1:${agent.ports["web"]}/`,
        ]);
      assert.equal((await page()).stdout, "ok");

      const from = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
      scene.atEnd(() => from.close());
      const answered = { datagrams: 0, bytes: 0 };
      let sentBytes = 0;
      (async () => {
        for await (const [data] of from) {
          answered.datagrams++;
          answered.bytes += data.length;
        }
      })().catch(() => {});
      for (let round = 0; round < 400; round++) {
        for (const port of [relay.port, ...sockets]) {
          const data = crypto.getRandomValues(new Uint8Array(1 + (round * 7) % 1400));
          // Every first byte in turn: ours, QUIC's long and short headers, nonsense.
          data[0] = round % 256;
          // Half of those that look like QUIC v1's first packet also name that version.
          if (round % 2 === 0 && data.length > 5) data.set([0, 0, 0, 1], 1);
          sentBytes += await from.send(data, { transport: "udp", hostname: "127.0.0.1", port });
        }
        if (round % 40 === 0) assert.equal((await page()).stdout, "ok", `round ${round}`);
      }
      assert.equal((await page()).stdout, "ok");
      assert.ok(
        answered.bytes <= sentBytes,
        `answers: ${JSON.stringify(answered)}, sent ${sentBytes}`,
      );
      for (const process of scene.processes) assert.ok(!process.ended, `${process.title} lives`);
    }),
});
