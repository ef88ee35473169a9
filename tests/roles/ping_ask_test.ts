import assert from "node:assert/strict";
import type { Name } from "../../src/identity/name.ts";
import type { PingAnswer, PingAsk } from "../../src/roles/asks.ts";
import { pingAsk } from "../../src/roles/ping_ask.ts";
import type { PathChange, Tunnel } from "../../src/tunnel/mod.ts";

const ASK: PingAsk = {
  ask: "ping",
  service: "web" as Name,
  count: 2,
  intervalMs: 10,
  timeoutMs: 100,
};

/** What pinging looks at in a tunnel. */
class FakeTunnel {
  path: "direct" | "relayed" = "relayed";
  /** What the next echoes do; after the last: 1 ms. */
  readonly echoes: (() => Promise<number | undefined>)[] = [];
  readonly listeners = new Set<(change: PathChange) => void>();
  readonly direct = {
    directAfterMs: 20,
    onChange: (listener: (change: PathChange) => void) => {
      this.listeners.add(listener);
      return () => this.listeners.delete(listener);
    },
  };

  ping(): Promise<number | undefined> {
    return this.echoes.shift()?.() ?? Promise.resolve(1);
  }

  move(path: "direct" | "relayed", reason: string) {
    this.path = path;
    const remote = path === "direct" ? "192.0.2.1:5" : null;
    for (const listener of this.listeners) listener({ path, remote, reason, afterMs: 9 });
  }

  get asTunnel(): Tunnel {
    return this as unknown as Tunnel;
  }
}

/** One line each: what a person would read. */
async function linesOf(
  tunnels: () => FakeTunnel,
  ask: Partial<PingAsk> = {},
  onLine: (line: string) => void = () => {},
): Promise<string[]> {
  const stop = new AbortController();
  const lines: string[] = [];
  const answers = pingAsk({ ...ASK, ...ask }, stop.signal, {
    tunnelFor: () => Promise.resolve().then(() => tunnels().asTunnel),
    remoteOf: ({ path }) => path === "direct" ? "192.0.2.1:5" : "relay",
    whyRelayed: () => "new",
  });
  for await (const answer of answers) {
    lines.push(words(answer));
    onLine(lines.at(-1)!);
  }
  return lines;
}

function words(answer: PingAnswer): string {
  if (answer.event === "lost") return `${answer.seq} lost`;
  if (answer.event === "echo") return `${answer.seq} ${answer.path} ${answer.remote}`;
  return `now ${answer.path} ${answer.remote} (${answer.reason})`;
}

Deno.test("pingAsk() does say where the tunnel is before the first echo", async () => {
  const tunnel = new FakeTunnel();
  assert.deepEqual(await linesOf(() => tunnel), [
    "now relayed relay (new)",
    "1 relayed relay",
    "2 relayed relay",
  ]);
  assert.equal(tunnel.listeners.size, 0, "it listens no more");
});

Deno.test("pingAsk() does tell moves as they happen: during an echo and between two", async () => {
  const tunnel = new FakeTunnel();
  const late = Promise.withResolvers<number>();
  tunnel.echoes.push(() => {
    setTimeout(() => tunnel.move("direct", "a direct way is proven"), 1);
    return late.promise;
  });
  const lines = await linesOf(() => tunnel, {}, (line) => {
    // The echo comes only when its move has been told.
    if (line.startsWith("now direct")) late.resolve(3);
    if (line.startsWith("1 ")) setTimeout(() => tunnel.move("relayed", "it went quiet"), 1);
  });
  assert.deepEqual(lines, [
    "now relayed relay (new)",
    "now direct 192.0.2.1:5 (a direct way is proven)",
    "1 direct 192.0.2.1:5",
    "now relayed relay (it went quiet)",
    "2 relayed relay",
  ]);
});

Deno.test("pingAsk() does go on through lost echoes and an outage, and follows the next tunnel", async () => {
  const first = new FakeTunnel();
  const second = new FakeTunnel();
  second.path = "direct";
  first.echoes.push(() => Promise.resolve(undefined));
  const tunnels = [first, undefined, second];
  const lines = await linesOf(() => {
    const tunnel = tunnels.shift();
    if (!tunnel) throw new Error("offline");
    return tunnel;
  }, { count: 3 });
  assert.deepEqual(lines, [
    "now relayed relay (new)",
    "1 lost",
    "2 lost",
    "now direct 192.0.2.1:5 (null)",
    "3 direct 192.0.2.1:5",
  ]);
  assert.equal(first.listeners.size, 0);
});

Deno.test("pingAsk() does throw where there is no way at all", async () => {
  const never = () => {
    throw new Error("not granted");
  };
  await assert.rejects(linesOf(never), /not granted/);
});

Deno.test("pingAsk() does keep few of many moves, and the latest among them", async () => {
  const tunnel = new FakeTunnel();
  tunnel.echoes.push(() => {
    for (let i = 0; i < 1_000; i++) tunnel.move(i % 2 ? "direct" : "relayed", `${i}`);
    return Promise.resolve(1);
  });
  const lines = await linesOf(() => tunnel, { count: 1 });
  assert.ok(lines.length < 100, `${lines.length}`);
  assert.equal(lines.at(-2), "now direct 192.0.2.1:5 (999)");
});
