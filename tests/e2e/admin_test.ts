/**
 * Metrics and health of the three roles, as a monitor sees them.
 * @module
 */
import assert from "node:assert/strict";
import { eventually, freePort, inScene, isReadyToRun, lacks, run } from "./harness.ts";

type Samples = ReadonlyMap<string, number>;

/** `name{labels} value` by `name{labels}`, labels as they stand there. */
async function scrape(port: number): Promise<Samples> {
  const response = await fetch(`http://127.0.0.1:${port}/metrics`);
  assert.match(response.headers.get("content-type")!, /^text\/plain; version=0\.0\.4/);
  const all = (await response.text()).split("\n").filter(Boolean);
  const lines = all.filter((line) => line[0] !== "#");
  assertDescribed(all, lines);
  return new Map(lines.map((line) => {
    const end = line.lastIndexOf(" ");
    return [line.slice(0, end), Number(line.slice(end + 1))];
  }));
}

/** Each figure says what it is and of which type, once, and its name goes with the type. */
function assertDescribed(all: readonly string[], samples: readonly string[]): void {
  const told = (what: "HELP" | "TYPE") => {
    const lines = all.filter((line) => line.startsWith(`# ${what} `));
    const words = lines.map((line) => line.split(" "));
    assert.equal(new Set(words.map(([, , name]) => name)).size, lines.length, `${what} twice`);
    return new Map(words.map(([, , name, ...rest]) => [name!, rest.join(" ")]));
  };
  const [help, types] = [told("HELP"), told("TYPE")];
  for (const name of new Set(samples.map((line) => line.split(/[{ ]/, 1)[0]!))) {
    assert.match(help.get(name) ?? "", /^[A-Z].{9,}[^.]$/, `help of ${name}`);
    const type = types.get(name);
    assert.ok(type === "counter" || type === "gauge", `${name} is a ${type}`);
    assert.equal(type === "counter", name.endsWith("_total"), `${name} is a ${type}`);
    assert.match(name, /^(postern|process)_[a-z0-9_]+$/);
  }
}

async function get(port: number, path: string): Promise<[status: number, text: string]> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`);
  return [response.status, (await response.text()).trim()];
}

/** The sum over both paths. */
function flowBytes(samples: Samples, service: string, direction: string): number {
  return [...samples].filter(([key]) =>
    key.startsWith("postern_flow_bytes_total{") && key.includes(`service="${service}"`) &&
    key.includes(`direction="${direction}"`)
  ).reduce((sum, [, value]) => sum + value, 0);
}

Deno.test({
  name: "every role serves /metrics, /healthz and /readyz",
  ignore: !isReadyToRun() || lacks("admin end to end", "curl"),
  fn: () =>
    inScene(async (scene) => {
      const body = "x".repeat(1_000_000);
      const server = Deno.serve(
        { hostname: "127.0.0.1", port: 0, onListen: () => {} },
        async (request) => {
          await request.arrayBuffer();
          return new Response(body);
        },
      );
      scene.atEnd(() => server.shutdown());
      const [relayAdmin, homeAdmin, aliceAdmin] = [freePort(), freePort(), freePort()] as const;
      const admin = (port: number) => ["--admin", `${port}`];
      const relay = await scene.startRelay({ args: admin(relayAdmin) });
      const home = await scene.invite(relay, "connector", "home", ["web"]);
      const alice = await scene.invite(relay, "agent", "alice", ["web"]);
      const agent = scene.startAgent({ invite: alice, services: ["web"], args: admin(aliceAdmin) });
      await agent.process.ready();
      const connector = scene.startConnector({
        invite: home,
        services: [`web=127.0.0.1:${server.addr.port}`],
        args: admin(homeAdmin),
      });
      await connector.ready();
      for (const port of [relayAdmin, homeAdmin, aliceAdmin]) {
        assert.deepEqual(await get(port, "/healthz"), [200, "alive"]);
        assert.deepEqual(await get(port, "/readyz"), [200, "ready"]);
        assert.equal((await get(port, "/"))[0], 404);
      }

      const url = `http://127.0.0.1:${agent.ports["web"]}/`;
      const sent = "y".repeat(300_000);
      const done = await run("curl", ["-sS", "--fail", "--data-binary", "@-", url], {
        stdin: sent,
      });
      assert.equal(done.stdout.length, body.length, done.stderr);

      const figures = await eventually("the flow's end", async () => {
        const samples = await scrape(aliceAdmin);
        return samples.get('postern_flows_opened_total{service="web"}') === 1 &&
            ![...samples.keys()].some((key) => key.startsWith("postern_flows{"))
          ? samples
          : undefined;
      });
      // A flow's bytes and its few of header and HTTP.
      const [came, went] = [flowBytes(figures, "web", "in"), flowBytes(figures, "web", "out")];
      assert.ok(came >= body.length && came < body.length + 2_000, `${came} bytes in`);
      assert.ok(went >= sent.length && went < sent.length + 2_000, `${went} bytes out`);
      const other = await scrape(homeAdmin);
      assert.equal(flowBytes(other, "web", "out"), came);
      assert.equal(flowBytes(other, "web", "in"), went);
      const tunnels = (samples: Samples) =>
        samples.get('postern_tunnels{path="direct"}')! +
        samples.get('postern_tunnels{path="relayed"}')!;
      assert.equal(tunnels(figures), 1);
      assert.equal(tunnels(other), 1);
      assert.equal(figures.get("postern_relay_connected"), 1);

      const middle = await scrape(relayAdmin);
      assert.equal(middle.get('postern_relay_clients{kind="agent"}'), 1);
      assert.equal(middle.get('postern_relay_clients{kind="connector"}'), 1);
      assert.equal(middle.get("postern_relay_tunnels"), 1);
      assert.ok(middle.get("postern_relay_forwarded_bytes_total")! > 2_000);
      assert.equal(middle.get('postern_dropped_datagrams_total{reason="wrong_source"}'), 0);
      for (const samples of [figures, other, middle]) {
        assert.ok(samples.get("process_resident_memory_bytes")! > 10_000_000);
        assert.ok([...samples.keys()].some((key) => key.startsWith("postern_build_info{")));
        assert.ok(samples.get("process_cpu_seconds_total")! > 0);
      }

      assert.equal(await relay.process.stop(), 0);
      await eventually("a connector that is not ready", async () => {
        const [status, why] = await get(homeAdmin, "/readyz");
        return status === 503 && /^the relay is out of reach/.test(why) ? true : undefined;
      });
      assert.deepEqual(await get(homeAdmin, "/healthz"), [200, "alive"]);
    }),
});

Deno.test({
  name: "--admin on a port in use is refused in words before anything else starts",
  ignore: !isReadyToRun(),
  fn: () =>
    inScene(async (scene) => {
      using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const { port } = taken.addr as Deno.NetAddr;
      const { code, stderr } = await scene.postern([
        "relay",
        "--state",
        scene.path("relay"),
        "--listen",
        `127.0.0.1:${freePort()}`,
        "--admin",
        `${port}`,
      ]);
      assert.equal(code, 1);
      assert.match(stderr, /Cannot serve metrics on 127\.0\.0\.1:\d+ as the port is in use/);
      assert.match(stderr, /--admin/);
    }),
});
