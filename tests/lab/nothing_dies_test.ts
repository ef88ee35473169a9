/**
 * Real TCP through the real program while its parts are stopped, killed, put to sleep and started again: what was asked
 * for arrives byte for byte, or is reset at once.
 * @module
 */
import assert from "node:assert/strict";
import { TestProcess } from "../e2e/process.ts";
import { Download } from "./download.ts";
import { Lab } from "./lab.ts";
import { QUIET_ENV } from "./namespaces.ts";
import { LAB_PORTS, PosternInLab } from "./postern_in_lab.ts";
import type { PromptedAnswer } from "./prompted_app.ts";
import { findCommand, skipLab } from "./requirements.ts";

const ignore = skipLab("tests/lab/nothing_dies_test.ts") || findCommand("curl") === undefined;

/** At 10 Mbit/s: some 13 s. */
const BYTES = 16_000_000;
/** Bytes that have arrived when it happens. */
const HAPPENS_AT = 1_000_000;
/** Not a goal but a bound: what the goal is stands in the table that is printed. */
const MAX_STALL_MS = 8_000;

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

const stalls: { event: string; path: string; goal: string; longestStallMs: number }[] = [];

interface Event {
  readonly name: string;
  readonly path: "direct" | "relayed";
  /** Does it, and answers when all is in place again (`performance.now()`); what stalls before does not count. */
  readonly happen: (postern: PosternInLab) => Promise<number>;
  readonly goalMs: number;
}

async function restartRelay(postern: PosternInLab, signal: Deno.Signal): Promise<number> {
  await postern.stopRole("relay", signal);
  await sleep(1_500);
  await postern.startRole("relay").ready();
  return performance.now();
}

async function sleepAgent(postern: PosternInLab): Promise<number> {
  postern.process("agent").signal("SIGSTOP");
  await sleep(20_000);
  postern.process("agent").signal("SIGCONT");
  return performance.now();
}

const EVENTS: readonly Event[] = [
  ...(["SIGTERM", "SIGKILL"] as const).flatMap((signal) =>
    (["direct", "relayed"] as const).map((path) => ({
      name: `the relay gets ${signal} and is started again`,
      path,
      happen: (postern: PosternInLab) => restartRelay(postern, signal),
      goalMs: path === "direct" ? 500 : 3_000,
    }))
  ),
  ...(["direct", "relayed"] as const).map((path) => ({
    name: "the agent's machine sleeps for 20 s",
    path,
    happen: sleepAgent,
    goalMs: 3_000,
  })),
];

async function untilPath(postern: PosternInLab, path: string): Promise<void> {
  for (let i = 0; i < 40; i++) {
    if ((await postern.path()).path === path) return;
    await sleep(250);
  }
  throw new Error(`Cannot see the tunnel ${path}`);
}

for (const { name, path, happen, goalMs } of EVENTS) {
  Deno.test({
    name: `a ${path} download loses nothing when ${name}`,
    ignore,
    async fn() {
      await using lab = await Lab.create({ link: { delayMs: 10 }, linkB: { rateMbit: 10 } });
      const noDirect = path === "relayed" ? ["--no-direct"] : [];
      const flags = { agent: noDirect, connector: noDirect };
      await using postern = await PosternInLab.start(lab, { flags });
      try {
        await postern.curl("/");
        await untilPath(postern, path);
        const download = new Download(postern, BYTES, { withinS: 120 });
        await download.reaches(HAPPENS_AT);
        // A direct tunnel must not notice anything; others are watched from when all is in place again.
        let since = path === "direct" && name.includes("relay") ? performance.now() : Infinity;
        const stall = download.longestStall(Infinity, { since: () => since });
        const back = await happen(postern);
        since = Math.min(since, back);
        const longestStallMs = await stall;
        stalls.push({ event: name, path, goal: `< ${goalMs} ms`, longestStallMs });
        await download.isWhole();
        assert.ok(longestStallMs < MAX_STALL_MS, `${longestStallMs} ms without a byte`);
      } catch (error) {
        console.error(postern.logs());
        throw error;
      }
    },
  });
}

for (const path of ["direct", "relayed"] as const) {
  Deno.test({
    name:
      `flows of a ${path} tunnel are reset soon when the connector is killed, and new ones work when it is back`,
    ignore,
    async fn() {
      await using lab = await Lab.create({ link: { delayMs: 10 }, linkB: { rateMbit: 10 } });
      const noDirect = path === "relayed" ? ["--no-direct"] : [];
      const flags = { agent: noDirect, connector: noDirect };
      await using postern = await PosternInLab.start(lab, { flags });
      try {
        await postern.curl("/");
        await untilPath(postern, path);
        const download = new Download(postern, BYTES);
        await download.reaches(HAPPENS_AT);
        await postern.stopRole("connector", "SIGKILL");
        const connector = postern.startRole("connector");
        await connector.ready();
        const back = performance.now();
        const { code, stderr } = await download.done;
        const reset = Math.round(performance.now() - back);
        assert.notEqual(code, 0);
        // 28 would be curl's own time-out: a flow that hung.
        assert.notEqual(code, 28, stderr);
        const asked = performance.now();
        assert.equal((await postern.curl("/", { withinS: 15 })).code, 0);
        const served = Math.round(performance.now() - asked);
        const event = `the connector is killed and back: reset after ${reset} ms, new flow`;
        stalls.push({ event, path, goal: "at once", longestStallMs: served });
        assert.ok(reset < MAX_STALL_MS, `${reset} ms until the reset`);
      } catch (error) {
        console.error(postern.logs());
        throw error;
      }
    },
  });
}

/** The machine sleeps for longer than the other ends wait; 180 s are nothing for a test, unless it is told to take its time. */
const LONG_SLEEP_S = Number(Deno.env.get("POSTERN_LONG_SLEEP_S") ?? 0);
const SHORT = { idleMs: 5_000, sleepMs: 8_000 } as const;

interface Sleep {
  readonly who: "agent" | "connector";
  readonly path: "direct" | "relayed";
  /** Somebody asks for a new flow in the midst of it, or when it is over. */
  readonly asked: "asleep" | "awake";
}

const SLEEPS: readonly Sleep[] = [
  { who: "agent", path: "direct", asked: "awake" },
  { who: "agent", path: "relayed", asked: "awake" },
  { who: "agent", path: "relayed", asked: "asleep" },
  { who: "connector", path: "direct", asked: "awake" },
];

for (const { who, path, asked } of SLEEPS) {
  Deno.test({
    name:
      `flows of a ${path} tunnel end, and new ones work at once, when the ${who} has slept for too long (asked when ${asked})`,
    ignore,
    async fn() {
      await using lab = await Lab.create({ link: { delayMs: 10 }, linkB: { rateMbit: 10 } });
      const noDirect = path === "relayed" ? ["--no-direct"] : [];
      const flags = { agent: noDirect, connector: noDirect };
      const idle = LONG_SLEEP_S > 0 ? {} : { POSTERN_TUNNEL_IDLE_MS: String(SHORT.idleMs) };
      await using postern = await PosternInLab.start(lab, { flags, env: idle });
      try {
        await postern.curl("/");
        await untilPath(postern, path);
        const program = new URL("prompted_app.ts", import.meta.url).pathname;
        const run = [Deno.execPath(), "run", "-A", "--no-check", "--no-config", program];
        const args = ["netns", "exec", lab.namespace("agent"), ...run, String(LAB_PORTS.forward)];
        await using app = new TestProcess({ title: "app", command: "ip", args, env: QUIET_ENV });
        await app.line(/waiting/);
        const sleepMs = LONG_SLEEP_S > 0 ? LONG_SLEEP_S * 1000 : SHORT.sleepMs;
        // At 10 Mbit/s: it would last until long after waking up.
        const words = ["-o", "/dev/null"];
        const done = postern.curl(`/bytes/${BYTES}`, { args: words, withinS: sleepMs / 1000 + 60 });
        await sleep(1_000);
        postern.process(who).signal("SIGSTOP");
        await sleep(sleepMs);
        if (asked === "asleep") app.signal("SIGUSR1");
        await sleep(100);
        const awake = performance.timeOrigin + performance.now();
        postern.process(who).signal("SIGCONT");
        if (asked === "awake") app.signal("SIGUSR1");
        const ended = done.then(({ code, stderr }) => {
          // 28 would be curl's own time-out: a flow that hung.
          assert.ok(code !== 0 && code !== 28, `${code} ${stderr}`);
          return Math.round(performance.timeOrigin + performance.now() - awake);
        });
        const { answeredAt, resets }: PromptedAnswer = JSON.parse(await app.line(/^\{/));
        const served = Math.round(answeredAt - awake);
        const reset = await ended;
        const event = `the ${who} slept for ${sleepMs / 1000} s (asked when ${asked})`;
        stalls.push({
          event: `${event}: reset after ${reset} ms, new flow`,
          path,
          goal: "one round trip",
          longestStallMs: served,
        });
        // Until a connector is back the relay has to say that it is not there.
        if (who === "agent") assert.equal(resets, 0, "the flow was let into a tunnel that is dead");
        assert.ok(reset < 1_000, `${reset} ms until the reset`);
        assert.ok(served < 1_000, `${served} ms until a new flow was served`);
      } catch (error) {
        console.error(postern.logs());
        throw error;
      }
    },
  });
}

Deno.test.afterAll(() => {
  if (stalls.length > 0) console.table(stalls);
});
