/**
 * The main job, on real input: a person reaches private services end to end, through three real processes.
 *
 * `POSTERN_E2E_MIB` says how large the large transfers are (64 by default); `POSTERN_BIN` names a packed program to
 * test instead of this checkout.
 * @module
 */
import assert from "node:assert/strict";
import {
  eventually,
  freePort,
  hashOfFile,
  inScene,
  isReadyToRun,
  lacks,
  openAll,
  randomFile,
  run,
  startNginx,
  startPython,
  startRedis,
  startSshd,
  startWebSocketEcho,
} from "./harness.ts";

const MEBIBYTES = Number(Deno.env.get("POSTERN_E2E_MIB") ?? 64);

/** Long enough for a gibibyte on a machine that does other things too. */
const TRANSFER_WITHIN_MS = 300_000;

async function curl(...args: string[]): Promise<string> {
  const done = await run("curl", ["-sS", "--fail", "--max-time", "60", ...args]);
  assert.equal(done.code, 0, `curl ${args.join(" ")}: ${done.stderr}`);
  return done.stdout;
}

Deno.test({
  name: `nginx: ${MEBIBYTES} MiB down and up with the right SHA-256, and 200 curls at once`,
  ignore: !isReadyToRun() || lacks("nginx end to end", "nginx", "curl", "sha256sum"),
  fn: () =>
    inScene(async (scene) => {
      const site = scene.path("site");
      await Deno.mkdir(site);
      await Deno.writeTextFile(`${site}/hello.txt`, "hello from behind the wall\n");
      const hash = await randomFile(`${site}/large`, MEBIBYTES);
      const { web } = await openAll(scene, { web: await startNginx(scene, site) });
      const url = `http://127.0.0.1:${web}`;
      assert.equal(await curl(`${url}/hello.txt`), "hello from behind the wall\n");

      const script = 'curl -sS --fail "$1" | sha256sum';
      const down = await run("sh", ["-c", script, "sh", `${url}/large`], {
        withinMs: TRANSFER_WITHIN_MS,
      });
      assert.equal(down.stdout.slice(0, 64), hash, `download: ${down.stderr}`);

      const args = ["-sS", "--fail", "-T", `${site}/large`, `${url}/uploaded`];
      const up = await run("curl", args, { withinMs: TRANSFER_WITHIN_MS });
      assert.equal(up.code, 0, up.stderr);
      assert.equal(await hashOfFile(`${site}/uploaded`), hash, "upload");

      const many = await Promise.all(
        Array.from({ length: 200 }, () => curl(`${url}/hello.txt`)),
      );
      assert.deepEqual([...new Set(many)], ["hello from behind the wall\n"]);
    }),
});

Deno.test({
  name: "python3 -m http.server: a page and a file",
  ignore: !isReadyToRun() || lacks("python3 -m http.server end to end", "python3", "curl"),
  fn: () =>
    inScene(async (scene) => {
      const site = scene.path("site");
      await Deno.mkdir(site);
      const hash = await randomFile(`${site}/file.bin`, 8);
      const { web } = await openAll(scene, { web: await startPython(scene, site) });
      assert.match(await curl(`http://127.0.0.1:${web}/`), /file\.bin/);
      await curl("-o", scene.path("copy"), `http://127.0.0.1:${web}/file.bin`);
      assert.equal(await hashOfFile(scene.path("copy")), hash);
    }),
});

Deno.test({
  name: "ssh: a command, and 16 MiB through its standard input",
  ignore: !isReadyToRun() || lacks("ssh end to end", "ssh", "sshd", "ssh-keygen"),
  fn: () =>
    inScene(async (scene) => {
      const sshd = await startSshd(scene);
      const { ssh } = await openAll(scene, { ssh: sshd.port });
      const to = [...sshd.clientArgs, "-p", `${ssh}`, "127.0.0.1"];
      const said = await run("ssh", [...to, "echo inside"]);
      assert.equal(said.stdout, "inside\n", said.stderr);
      const hash = await randomFile(scene.path("file"), 16);
      const hashed = await run("ssh", [...to, "sha256sum"], {
        stdin: await Deno.readFile(scene.path("file")),
      });
      assert.equal(hashed.stdout.slice(0, 64), hash, hashed.stderr);
    }),
});

Deno.test({
  name: "redis-cli: values of all sizes, and 1,000 commands in one pipe",
  ignore: !isReadyToRun() || lacks("redis end to end", "redis-server", "redis-cli"),
  fn: () =>
    inScene(async (scene) => {
      const { redis } = await openAll(scene, { redis: await startRedis(scene) });
      const ask = (args: string[], stdin?: string) =>
        run("redis-cli", ["-p", `${redis}`, ...args], stdin === undefined ? {} : { stdin });
      for (const length of [1, 1_000, 1_000_000]) {
        const value = "v".repeat(length);
        assert.equal((await ask(["-x", "set", "key"], value)).stdout, "OK\n");
        assert.equal((await ask(["get", "key"])).stdout, `${value}\n`);
      }
      const piped = await ask([], "INCR counter\n".repeat(1_000));
      assert.equal(piped.stdout.trimEnd().split("\n").at(-1), "1000", piped.stderr);
    }),
});

Deno.test({
  name: "a WebSocket: messages of many sizes come back whole and in order",
  ignore: !isReadyToRun(),
  fn: () =>
    inScene(async (scene) => {
      const { chat } = await openAll(scene, { chat: startWebSocketEcho(scene) });
      const socket = new WebSocket(`ws://127.0.0.1:${chat}/`);
      socket.binaryType = "arraybuffer";
      const sizes = [0, 1, 125, 126, 65_535, 65_536, 1_000_000];
      const received: number[] = [];
      await new Promise<void>((resolve, reject) => {
        socket.onerror = () => reject(new Error("Cannot use the WebSocket"));
        socket.onopen = () => sizes.forEach((size) => socket.send(new Uint8Array(size)));
        socket.onmessage = ({ data }) => {
          received.push((data as ArrayBuffer).byteLength);
          if (received.length === sizes.length) resolve();
        };
      });
      assert.deepEqual(received, sizes);
      const closed = new Promise((resolve) => socket.onclose = resolve);
      socket.close();
      await closed;
    }),
});

Deno.test({
  name:
    "started again without an invite, every role comes back from its state; order does not matter",
  ignore: !isReadyToRun() || lacks("restart end to end", "python3", "curl"),
  fn: () =>
    inScene(async (scene) => {
      const site = scene.path("site");
      await Deno.mkdir(site);
      await Deno.writeTextFile(`${site}/a.txt`, "a");
      const target = `web=127.0.0.1:${await startPython(scene, site)}`;
      const first = await scene.startRelay();
      const home = await scene.invite(first, "connector", "home", ["web"]);
      const alice = await scene.invite(first, "agent", "alice", ["web"]);
      assert.equal(await first.process.stop(), 0, "the relay ends in good order");

      // Agent first, then connector, and the relay last of all: each waits and comes by itself.
      const agent = scene.startAgent({ invite: alice, services: ["web"] });
      const connector = scene.startConnector({ invite: home, services: [target] });
      const relay = await scene.startRelay({ state: first.state, port: first.port });
      const url = `http://127.0.0.1:${agent.ports["web"]}/a.txt`;
      const works = (what: string, at = url) =>
        eventually(
          what,
          async () => (await curl("--max-time", "5", at)) === "a" ? true : undefined,
        );
      await works("the first page, with the relay started last");

      // Each in its turn ends and comes back; the invites are used up and not needed.
      assert.equal(await connector.stop(), 0, "the connector ends in good order");
      const connector2 = scene.startConnector({ services: [target] });
      await works("a page after the connector's restart");
      assert.equal(await agent.process.stop(), 0, "the agent ends in good order");
      const agent2 = scene.startAgent({ services: ["web"] });
      const url2 = `http://127.0.0.1:${agent2.ports["web"]}/a.txt`;
      await works("a page after the agent's restart", url2);
      assert.equal(await relay.process.stop(), 0, "the relay ends in good order");
      await scene.startRelay({ state: first.state, port: first.port });
      await works("a page after the relay's restart", url2);

      // And all three together, without naming services: the state remembers them.
      await Promise.all([connector2.kill(), agent2.process.kill()]);
      scene.startConnector({});
      const port = freePort();
      scene.startAgent({ services: ["web"], ports: { web: port } });
      await works("a page after all restarted", `http://127.0.0.1:${port}/a.txt`);
    }),
});
