import assert from "node:assert/strict";
import { join } from "node:path";
import type { Ask } from "../../src/roles/asks.ts";
import { type Answer, serveStatus } from "../../src/roles/status_socket.ts";
import { run } from "../../src/cli/run.ts";
import { createFakeIo } from "./fake_io.ts";
import { AGENT } from "./samples.ts";

/** Roles answering at the default state folders of a home of their own. */
async function running(
  roles: Partial<Record<"agent" | "connector" | "relay", (ask: Ask) => Answer>>,
  work: (
    postern: (...argv: string[]) => Promise<{ code: number; out: string; err: string }>,
    folder: (role: string) => string,
  ) => Promise<void>,
) {
  const home = Deno.makeTempDirSync();
  // The commands read the default from the real environment, as they must.
  const old = Deno.env.get("XDG_STATE_HOME");
  Deno.env.set("XDG_STATE_HOME", home);
  const stop = new AbortController();
  const folder = (role: string) => join(home, "postern", role);
  const servers = [];
  for (const [role, answer] of Object.entries(roles)) {
    Deno.mkdirSync(folder(role), { recursive: true });
    servers.push(await serveStatus({ state: folder(role), answer, signal: stop.signal }));
  }
  try {
    await work(async (...argv) => {
      const io = createFakeIo({ env: { POSTERN_SELF: "postern" } });
      const code = await run(argv, io);
      return { code, ...io.written };
    }, folder);
  } finally {
    stop.abort();
    await Promise.all(servers.map((server) => server.finished));
    if (old === undefined) Deno.env.delete("XDG_STATE_HOME");
    else Deno.env.set("XDG_STATE_HOME", old);
    Deno.removeSync(home, { recursive: true });
  }
}

const LINUX_ONLY = { ignore: Deno.build.os !== "linux" };
if (LINUX_ONLY.ignore) {
  console.log("status command tests skip: they steer XDG_STATE_HOME, which only Linux reads");
}

Deno.test("status does show whichever role runs", LINUX_ONLY, async () => {
  await running({ agent: () => AGENT }, async (postern, folder) => {
    const { code, out } = await postern("status");
    assert.equal(code, 0);
    assert.match(out, /^agent alice /);
    assert.deepEqual(JSON.parse((await postern("status", "--json")).out), AGENT);
    const stated = await postern("status", "--json", "--state", folder("agent"));
    assert.deepEqual(JSON.parse(stated.out), AGENT);
    assert.equal((await postern("status", "--state", folder("relay"))).code, 1);
  });
});

Deno.test("status --json does print a line for each role that runs", LINUX_ONLY, async () => {
  const connector = { ...AGENT, role: "connector", name: "home" };
  await running({ agent: () => AGENT, connector: () => connector }, async (postern) => {
    const { out } = await postern("status", "--json");
    const roles = out.trimEnd().split("\n").map((line) => JSON.parse(line).role);
    assert.deepEqual(roles, ["agent", "connector"]);
  });
});

Deno.test(
  "ping does show echoes as they come, and fail when none came back",
  LINUX_ONLY,
  async () => {
    const remote = "127.0.0.1:1";
    const asked: Ask[] = [];
    const answers = [
      { event: "echo", seq: 1, ms: 80, path: "relayed", remote },
      { event: "path", path: "direct", remote, afterMs: 95, reason: null },
      { event: "echo", seq: 2, ms: 40, path: "direct", remote },
      { event: "lost", seq: 3 },
    ];
    await running({
      agent: async function* (ask) {
        asked.push(ask);
        await Promise.resolve();
        yield* ask.ask === "ping" && ask.count === 1 ? answers.slice(3) : answers;
      },
    }, async (postern) => {
      const { code, out } = await postern("ping", "web", "-c", "3", "--interval", "200ms");
      assert.equal(code, 0);
      assert.match(
        out,
        /relayed[\s\S]*now direct[\s\S]*40\.0 ms {2}direct[\s\S]*lost\n2 of 3 came back;/,
      );
      assert.deepEqual(asked[0], {
        ask: "ping",
        service: "web",
        count: 3,
        intervalMs: 200,
        timeoutMs: 2000,
      });
      const json = await postern("ping", "web", "--json");
      assert.deepEqual(json.out.trimEnd().split("\n").map((line) => JSON.parse(line)), answers);
      const lost = await postern("ping", "web", "-c", "1");
      assert.equal(lost.code, 1);
      assert.match(lost.out, /0 of 1 came back/);
    });
  },
);

Deno.test("ping and netcheck does ask only roles that know", LINUX_ONLY, async () => {
  await running({ relay: () => assert.fail("must not be asked") }, async (postern) => {
    for (const argv of [["ping", "web"], ["netcheck"]]) {
      const { code, err } = await postern(...argv);
      assert.equal(code, 1);
      assert.match(err, /no (agent|role) runs/);
    }
  });
});
