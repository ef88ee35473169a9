/**
 * `postern demo` as a real process: what it prints, for people and for programs, and what it leaves behind.
 * @module
 */
import assert from "node:assert/strict";
import config from "../../deno.json" with { type: "json" };
import {
  eventually,
  fromFileUrl,
  isReadyToRun,
  postern,
  program,
  run,
  TestProcess,
} from "./harness.ts";

/** Less than a person gets to see: what is tested is that it arrives. */
const MIB = 4;
const ARGS = ["demo", "--transfer", `${MIB}`];

/** Steps that every run has. */
const STEPS = [
  "relay",
  "invite-connector",
  "connector",
  "invite-agent",
  "agent",
  "first-request",
  "blind-relay",
  "transfer-relayed",
  "refused",
  "revoke",
  "grant",
  "return",
  "path",
];

const ignore = !isReadyToRun();
if (ignore) console.log("skipped: demo: needs the roles");

/** A folder of its own to be the temporary one, so that what is left there can be seen. */
async function inTemporaryFolder(
  play: (env: Record<string, string>, folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "postern-e2e-demo-" });
  try {
    await play({ TMPDIR: folder, TMP: folder, TEMP: folder }, folder);
    assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name), []);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Is there still a process with this id? */
function lives(pid: number): boolean {
  try {
    Deno.kill(pid, "SIGCONT");
    return true;
  } catch {
    return false;
  }
}

/** Process ids of the three roles, as the demo's children say in their state folders. */
async function rolesIn(folder: string, env: Record<string, string>): Promise<number[]> {
  const [demo] = [...Deno.readDirSync(folder)];
  assert(demo);
  const pids = [];
  for (const role of ["relay", "connector", "agent"]) {
    const state = `${folder}/${demo.name}/${role}`;
    const { stdout } = await postern(["status", "--json", "--state", state], { env });
    pids.push(JSON.parse(stdout).pid);
  }
  return pids;
}

Deno.test({
  name: "demo --once --json gives one document and leaves nothing behind",
  ignore,
  fn: () =>
    inTemporaryFolder(async (env) => {
      const { code, stdout, stderr } = await postern([...ARGS, "--once", "--json"], { env });
      assert.equal(code, 0, stdout + stderr);
      assert.equal(stderr, "");
      const report = JSON.parse(stdout);
      assert.equal(report.ok, true);
      assert.equal(report.error, null);
      assert.equal(report.version, config.version);
      const names = report.steps.map((step: { name: string }) => step.name);
      assert.deepEqual(names.filter((name: string) => name !== "transfer-direct"), STEPS);
      for (const { ok, ms, result } of report.steps) {
        assert(ok && ms > 0 && result !== "");
      }
      const { figures } = report;
      assert(figures.transfers.length >= 1);
      for (const { bytes, sha256, downMbps, upMbps } of figures.transfers) {
        assert.equal(bytes, MIB * 2 ** 20);
        assert.match(sha256, /^[0-9a-f]{64}$/);
        assert(downMbps > 0 && upMbps > 0);
      }
      assert.equal(figures.transfers[0].path, "relayed");
      assert(figures.firstRequestMs > 0 && figures.requestMs > 0);
      assert(figures.revokeMs > 0 && figures.returnMs > 0);
      assert(figures.relay.forwardedDatagrams > 0 && figures.relay.forwardedBytes > 0);
      assert.notEqual(figures.relay.secretInMemory, true);
      assert(["direct", "relayed"].includes(figures.path));
      const direct = names.includes("transfer-direct");
      assert.equal(figures.path === "direct", direct);
    }),
});

Deno.test({
  name: "demo --once --no-direct stays relayed and shows every step in plain lines",
  ignore,
  fn: () =>
    inTemporaryFolder(async (env) => {
      const { code, stdout, stderr } = await postern([...ARGS, "--once", "--no-direct"], { env });
      assert.equal(code, 0, stdout + stderr);
      assert.equal(stdout.match(/^✓ /gm)?.length, STEPS.length);
      assert.match(stdout, /^✓ direct path .* relayed, as asked for with --no-direct$/m);
      assert.match(stdout, /^ {2}13 of 13 steps done in /m);
      // deno-lint-ignore no-control-regex -- what must not be there
      assert.doesNotMatch(stdout, /[\x1b\r]/);
    }),
});

Deno.test({
  name: "demo stays up until it is stopped, then ends its processes and removes its folder",
  ignore: ignore || Deno.build.os === "windows",
  fn: () =>
    inTemporaryFolder(async (env, folder) => {
      const { command, args } = program();
      const title = "demo";
      await using demo = new TestProcess({ title, command, args: [...args, ...ARGS], env });
      const line = await demo.line(/curl http:\S+/);
      const url = /http:\S+/.exec(line)![0];
      assert.match(await (await fetch(url)).text(), /^Hello from behind the postern\n/);
      const roles = await rolesIn(folder, env);
      assert.deepEqual(roles.map(lives), [true, true, true]);
      assert.equal(await demo.stop("SIGTERM"), 0);
      assert.deepEqual(roles.map(lives), [false, false, false]);
    }),
});

Deno.test({
  name: "demo interrupted in the middle fails and cleans up; interrupted twice it ends at once",
  ignore: ignore || Deno.build.os === "windows",
  fn: () =>
    inTemporaryFolder(async (env, folder) => {
      for (const times of [1, 2]) {
        const { command, args } = program();
        const title = "demo";
        const all = [...args, ...ARGS, "--once"];
        await using demo = new TestProcess({ title, command, args: all, env });
        await demo.line(/first request/);
        const roles = await rolesIn(folder, env).catch(() => []);
        for (let i = 0; i < times; i++) demo.signal("SIGINT");
        const code = await demo.stop("SIGINT");
        assert([1, 130].includes(code), `exit code ${code}: ${demo.output()}`);
        await eventually("the end of its processes", () => !roles.some(lives) || undefined);
        await eventually("an empty folder", () =>
          [...Deno.readDirSync(folder)].length === 0 || undefined);
      }
    }),
});

Deno.test({
  name: "demo that is killed takes its processes with it",
  ignore: ignore || Deno.build.os === "windows",
  fn: async () => {
    const folder = await Deno.makeTempDir({ prefix: "postern-e2e-demo-" });
    try {
      const env = { TMPDIR: folder, TMP: folder, TEMP: folder };
      const { command, args } = program();
      await using demo = new TestProcess({
        title: "demo",
        command,
        args: [...args, ...ARGS],
        env,
      });
      await demo.line(/curl http:\S+/);
      const roles = await rolesIn(folder, env);
      assert.deepEqual(roles.map(lives), [true, true, true]);
      demo.signal("SIGKILL");
      await eventually("the end of its processes", () => !roles.some(lives) || undefined);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

Deno.test({
  name: "demo says which step failed, why, and what the processes said last",
  ignore: ignore || Deno.build.os === "windows",
  fn: () =>
    inTemporaryFolder(async (env, folder) => {
      const { command, args } = program();
      const all = [...args, "demo", "--transfer", "4096", "--once"];
      await using demo = new TestProcess({ title: "demo", command, args: all, env });
      await demo.line(/relay reads nothing/);
      const [relay] = await rolesIn(folder, env);
      Deno.kill(relay!, "SIGKILL");
      assert.equal(await demo.status(), 1, demo.output());
      assert.match(
        demo.output("out"),
        /^✗ large transfer, relayed .* the relay ended with exit code/m,
      );
      assert.match(demo.output("out"), /^ {2}the relay \(exit code \d+\) said last:\n {4}\S/m);
    }),
});

Deno.test({
  name: "deno task demo takes --once",
  ignore: ignore || Deno.env.get("POSTERN_BIN") !== undefined,
  fn: () =>
    inTemporaryFolder(async (env) => {
      const cwd = fromFileUrl(new URL("../../", import.meta.url));
      const args = ["task", "--quiet", "demo", "--once", "--json", "--transfer", `${MIB}`];
      const { code, stdout, stderr } = await run(Deno.execPath(), args, { env, cwd });
      assert.equal(code, 0, stdout + stderr);
      assert.equal(JSON.parse(stdout).ok, true);
    }),
});

Deno.test({
  name: "demo refuses a folder that has something in it",
  ignore,
  fn: () =>
    inTemporaryFolder(async (env, folder) => {
      await Deno.writeTextFile(`${folder}/mine`, "");
      const { code, stderr } = await postern([...ARGS, "--state", folder], { env });
      assert.equal(code, 1);
      assert.match(
        stderr,
        /Cannot keep the demo in ".*" as it is not empty\n {2}Name a new folder/,
      );
      await Deno.remove(`${folder}/mine`);
    }),
});
