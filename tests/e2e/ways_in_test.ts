/**
 * Every way into a service other than a forwarded port, with the programs that people use: curl, git and ssh through the
 * proxies and through `postern connect`.
 * @module
 */
import assert from "node:assert/strict";
import {
  type Finished,
  freePort,
  inScene,
  isReadyToRun,
  lacks,
  program,
  type Relay,
  run,
  type Scene,
  startPython,
  startSshd,
} from "./harness.ts";

interface Ways {
  readonly relay: Relay;
  readonly socks: string;
  readonly http: string;
  readonly agentState: string;
  readonly ready: string;
}

/** A relay, a connector that offers `targets`, and an agent with both proxies and no forwarded port. */
async function openProxies(
  scene: Scene,
  targets: Readonly<Record<string, number>>,
): Promise<Ways> {
  const services = Object.keys(targets);
  const relay = await scene.startRelay();
  const home = await scene.invite(relay, "connector", "home", [...services, "secret"]);
  const alice = await scene.invite(relay, "agent", "alice", services);
  const connector = scene.startConnector({
    invite: home,
    services: services.map((name) => `${name}=127.0.0.1:${targets[name]}`),
  });
  await connector.ready();
  const [socks, http] = [`127.0.0.1:${freePort()}`, `127.0.0.1:${freePort()}`];
  const agentState = scene.path("agent");
  const args = ["--socks", socks, "--http-proxy", http];
  const agent = scene.startAgent({ invite: alice, services: [], args });
  return { relay, socks, http, agentState, ready: await agent.process.ready() };
}

/** `postern connect SERVICE` as a shell command line. */
function connectCommand(state: string, service: string): string {
  const { command, args } = program();
  return [command, ...args, "connect", "--state", state, service].map((word) => `'${word}'`)
    .join(" ");
}

function curl(...args: string[]): Promise<Finished> {
  return run("curl", ["-sS", "--max-time", "20", ...args]);
}

Deno.test({
  name: "curl and git go through both proxies; what is no granted service is refused",
  ignore: !isReadyToRun() || lacks("proxies end to end", "curl", "git", "python3"),
  fn: () =>
    inScene(async (scene) => {
      const site = scene.path("site");
      const bare = `${site}/repo.git`;
      await Deno.mkdir(site);
      await Deno.writeTextFile(`${site}/a.txt`, "behind the wall");
      const git = (...args: string[]) =>
        run("git", ["-c", "user.name=a", "-c", "user.email=a@b", ...args]);
      await git("init", "-q", scene.path("work"));
      const made = await git(
        "-C",
        scene.path("work"),
        "commit",
        "-q",
        "--allow-empty",
        "-m",
        "one",
      );
      assert.equal(made.code, 0, made.stderr);
      await git("clone", "-q", "--bare", scene.path("work"), bare);
      await git("-C", bare, "update-server-info");
      const ways = await openProxies(scene, { web: await startPython(scene, site) });
      assert.match(ways.ready, new RegExp(`socks5://${ways.socks}.*http://${ways.http}`));

      const url = "http://web.postern/a.txt";
      for (
        const proxy of [["--proxy", `socks5h://${ways.socks}`], ["-x", `http://${ways.http}`], [
          "-p",
          "-x",
          `http://${ways.http}`,
        ]]
      ) {
        const got = await curl("--fail", ...proxy, url);
        assert.equal(got.stdout, "behind the wall", `${proxy.join(" ")}: ${got.stderr}`);
      }
      for (const [i, proxy] of [`socks5h://${ways.socks}`, `http://${ways.http}`].entries()) {
        const clone = scene.path(`clone${i}`);
        const cloned = await git(
          "-c",
          `http.proxy=${proxy}`,
          "clone",
          "-q",
          "http://web.postern/repo.git",
          clone,
        );
        assert.equal(cloned.code, 0, cloned.stderr);
        assert.equal((await git("-C", clone, "log", "--format=%s")).stdout, "one\n");
      }
      const pac = await curl("--fail", `http://${ways.http}/proxy.pac`);
      assert.match(pac.stdout, /\*\.postern/);

      // A listener that must never be reached: the proxies lead to services only.
      let dialled = 0;
      const bait = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const baiting = (async () => {
        for await (const conn of bait) {
          dialled++;
          conn.close();
        }
      })().catch(() => {});
      const elsewhere = `http://127.0.0.1:${(bait.addr as Deno.NetAddr).port}/`;
      for (const target of [elsewhere, "http://secret.postern/", "http://example.com/"]) {
        const socks = await curl("--proxy", `socks5h://${ways.socks}`, target);
        assert.equal(socks.code, 97, `${target}: ${socks.stderr}`);
        const plain = await curl(
          "-o",
          scene.path("out"),
          "-w",
          "%{http_code}",
          "-x",
          `http://${ways.http}`,
          target,
        );
        assert.equal(plain.stdout, "403", target);
      }
      bait.close();
      await baiting;
      assert.equal(dialled, 0);

      const status = await scene.status(ways.agentState);
      assert.deepEqual(status["endpoints"], [`socks5://${ways.socks}`, `http://${ways.http}`]);
    }),
});

Deno.test({
  name: "ssh goes through `postern connect`, with an agent that runs and without one",
  ignore: !isReadyToRun() || lacks("connect end to end", "ssh", "sshd", "ssh-keygen"),
  fn: () =>
    inScene(async (scene) => {
      const sshd = await startSshd(scene);
      const { agentState, http, socks } = await openProxies(scene, { ssh: sshd.port });
      const ssh = (...args: string[]) =>
        run("ssh", [
          ...sshd.clientArgs,
          "-o",
          `ProxyCommand=${connectCommand(agentState, "ssh")}`,
          "root@home",
          ...args,
        ], { withinMs: 30_000 });
      const through = await ssh("echo", "hello");
      assert.equal(through.stdout, "hello\n", through.stderr);
      const bulk = await ssh("head", "-c", "3000000", "/dev/zero");
      assert.equal(bulk.stdout.length, 3_000_000, bulk.stderr);

      // The HTTP proxy serves ssh as well.
      if (!lacks("ssh through the HTTP proxy", "socat")) {
        const [host, port] = http.split(":");
        const proxied = await run("ssh", [
          ...sshd.clientArgs,
          "-o",
          `ProxyCommand=socat - PROXY:${host}:%h:%p,proxyport=${port}`,
          "root@ssh.postern",
          "echo hello",
        ], { withinMs: 30_000 });
        assert.equal(proxied.stdout, "hello\n", proxied.stderr);
      }

      const refused = await scene.postern(["connect", "--state", agentState, "nowhere"], {
        stdin: "",
      });
      assert.equal(refused.code, 1);
      assert.match(refused.stderr, /Cannot open flow to "nowhere".* not granted/);
      assert.equal(refused.stdout, "");

      const agent = scene.processes.find(({ title }) => title === "agent")!;
      assert.equal(await agent.stop(), 0, agent.output());
      const alone = await ssh("echo", "alone");
      assert.equal(alone.stdout, "alone\n", alone.stderr);
      // Two at once: one of them runs the agent, and neither ends the other.
      const both = await Promise.all([ssh("sleep 1; echo", "slow"), ssh("echo", "quick")]);
      assert.deepEqual(both.map(({ stdout }) => stdout), ["slow\n", "quick\n"], scene.logs());
      // It remembered nothing: what the agent was told before is still there.
      const settings = JSON.parse(await Deno.readTextFile(`${agentState}/settings.json`));
      assert.equal(settings.socks, socks);
    }),
});

Deno.test({
  name: "`postern ping` says where the tunnel is and times each echo; `connect` half-closes",
  ignore: !isReadyToRun(),
  fn: () =>
    inScene(async (scene) => {
      // Says how much it got, and only when its peer has finished.
      const server = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const serve = async (conn: Deno.Conn) => {
        let count = 0;
        const buffer = new Uint8Array(65_536);
        for (let n = await conn.read(buffer); n !== null; n = await conn.read(buffer)) count += n;
        await conn.write(new TextEncoder().encode(`${count}\n`));
        conn.close();
      };
      const serving = (async () => {
        for await (const conn of server) serve(conn).catch(() => {});
      })().catch(() => {});
      scene.atEnd(async () => {
        server.close();
        await serving;
      });
      const { agentState } = await openProxies(scene, {
        echo: (server.addr as Deno.NetAddr).port,
      });
      const args = ["ping", "--state", agentState, "echo", "-c", "3", "-i", "100ms", "--json"];
      const { code, stdout, stderr } = await scene.postern(args);
      assert.equal(code, 0, stderr);
      const lines = stdout.trim().split("\n").map((line) => JSON.parse(line));
      assert.equal(lines[0].event, "path", stdout);
      assert.deepEqual(
        lines.filter(({ event }) => event === "echo").map(({ seq }) => seq),
        [1, 2, 3],
        stdout,
      );
      const counted = await scene.postern(["connect", "--state", agentState, "echo"], {
        stdin: new Uint8Array(1_234_567),
      });
      assert.equal(counted.stdout, "1234567\n", counted.stderr);
      const unknown = await scene.postern(["ping", "--state", agentState, "nowhere", "-c", "1"]);
      assert.equal(unknown.code, 1);
      assert.match(unknown.stderr, /not granted/);
    }),
});

Deno.test({
  name: "`postern netcheck` asks both ports of the relay from agent and connector",
  ignore: !isReadyToRun(),
  fn: () =>
    inScene(async (scene) => {
      const { agentState, relay } = await openProxies(scene, { web: freePort() });
      for (const state of [agentState, scene.path("connector")]) {
        const { code, stdout, stderr } = await scene.postern([
          "netcheck",
          "--json",
          "--state",
          state,
        ]);
        assert.equal(code, 0, stderr);
        const report = JSON.parse(stdout);
        assert.equal(report.relay.address, `127.0.0.1:${relay.port}`);
        assert.equal(report.relay.state, "connected");
        const { v4, v6 } = report;
        assert.equal(v4.udp, true, stdout);
        assert.equal(v4.mapping, "none", stdout);
        assert.equal(v4.filtering, "endpoint-independent or address-dependent", stdout);
        assert.match(v4.observed, /^127\.0\.0\.1:\d+$/);
        if (Deno.build.os === "linux") assert.equal(v4.pathMtu, 8_972, stdout);
        assert.equal(v6.udp, null, "the relay listens on IPv4 only");
        assert.ok(report.advice.length > 0);
      }
      const shown = await scene.postern(["netcheck", "--state", agentState]);
      assert.match(shown.stdout, /IPv4[\s\S]*reaches the relay[\s\S]*8972 bytes/);

      // Without a relay it says so, and does not wait for it.
      await relay.process.stop();
      const after = await scene.postern(["netcheck", "--state", agentState]);
      assert.equal(after.code, 0, after.stderr);
      assert.match(after.stdout, /- The relay is out of reach/);
      assert.match(after.stdout, /not known/);
    }),
});
