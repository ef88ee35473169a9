/**
 * Single runs of the paths benchmark, on the real program in a lab: how soon a new tunnel is direct, and what a broken path
 * costs the traffic in it.
 * @module
 */
import type { TunnelStatus } from "../../src/roles/status.ts";
import type { Lab } from "../lab/lab.ts";
import { LAB_PORTS, type PosternInLab } from "../lab/postern_in_lab.ts";
import type { BulkReport, Pulse, PulseReport } from "./pulse.ts";

/** The traffic's program. */
export const PULSE_PROGRAM = new URL("pulse.ts", import.meta.url);

/** Between the start of a role's process and the question, in milliseconds: what it gathers beforehand, it has by then. */
const SETTLE_MS = 300;
/** Connections that pulse in turns, and the time from one pulse to the next, in milliseconds. */
const LINES = 10;
const GAP_MS = 4;

/** Resolves after that many milliseconds. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function load<T>(lab: Lab, words: readonly (string | number)[], ms: number): Promise<T> {
  const [what, ...numbers] = words;
  const run = ["run", "-A", "--no-check", "--no-config", PULSE_PROGRAM.pathname];
  const args = [...run, String(what), String(LAB_PORTS.forward), ...numbers.map(String)];
  const done = await lab.exec("agent", Deno.execPath(), args, { timeoutMs: ms + 20_000 });
  if (done.code !== 0) throw new Error(`Cannot make traffic: ${done.stderr.trim()}`);
  return JSON.parse(done.stdout);
}

/** Pulses for that many milliseconds, {@linkcode LINES} connections in turns. */
export function runPulses(lab: Lab, ms: number, gapMs = GAP_MS): Promise<PulseReport> {
  return load(lab, ["pulses", LINES, gapMs, ms], ms);
}

/** One download for that many milliseconds. */
export function runBulk(lab: Lab, ms: number): Promise<BulkReport> {
  return load(lab, ["bulk", ms], ms);
}

/** The agent's tunnel, or `undefined`. */
export async function agentTunnel(postern: PosternInLab): Promise<TunnelStatus | undefined> {
  return (await postern.path()).status.tunnels[0];
}

/** Waits until the agent's tunnel is on that path; answers whether it came to be. */
export async function untilPath(
  postern: PosternInLab,
  path: "direct" | "relayed",
  withinMs: number,
): Promise<boolean> {
  const until = Date.now() + withinMs;
  while (Date.now() < until) {
    if ((await agentTunnel(postern))?.path === path) return true;
    await sleep(100);
  }
  return false;
}

/** What a new tunnel took, in milliseconds from the application's question; null: did not happen while it was watched. */
export interface NewTunnel {
  /** Open: both ends know who the other is. */
  readonly openMs: number | null;
  /** The agent's packets leave on the direct path. */
  readonly directMs: number | null;
  /** The first byte that the service got over the direct path, as its time on the way shows. */
  readonly firstByteMs: number | null;
  /** The first byte that the service got of those sent after the agent had moved. */
  readonly movedByteMs: number | null;
  readonly whyRelayed: string | null;
}

/** How to make a new tunnel. */
export interface NewTunnelOptions {
  /** Which process is started anew before. */
  readonly restart: "connector" | "agent";
  /** A pulse that was on its way for less than this, in milliseconds, took the direct path; null: times do not tell. */
  readonly directBelowMs: number | null;
  /** How long it is watched. */
  readonly watchMs: number;
}

/** One new tunnel: starts one end anew, asks, and watches. */
export async function newTunnel(
  postern: PosternInLab,
  { restart, directBelowMs, watchMs }: NewTunnelOptions,
): Promise<NewTunnel> {
  await postern.stopRole(restart, "SIGKILL");
  await postern.startRole(restart).ready();
  await sleep(SETTLE_MS);
  const { asked, pulses } = await runPulses(postern.lab, watchMs);
  const tunnel = await agentTunnel(postern);
  const since = (some: readonly Pulse[]) => {
    const first = Math.min(...some.map(([, arrived]) => arrived));
    return first === Infinity ? null : first - asked;
  };
  const movedAt = pathChangeAt(postern, "direct", asked) ?? Infinity;
  return {
    openMs: tunnel?.openedMs ?? null,
    directMs: tunnel?.directAfterMs ?? null,
    firstByteMs: since(
      pulses.filter(([sent, arrived]) => arrived - sent < (directBelowMs ?? 0)),
    ),
    movedByteMs: since(pulses.filter(([sent]) => sent >= movedAt)),
    whyRelayed: tunnel?.whyRelayed ?? null,
  };
}

/** The longest time without an answer that began or ended in the window. */
function longestGap({ pulses }: PulseReport, from: number, to: number): number {
  const times = pulses.map(([, , back]) => back).sort((a, b) => a - b);
  let longest = 0;
  for (let i = 1; i < times.length; i++) {
    const [begin, end] = [times[i - 1]!, times[i]!];
    if (end >= from && begin <= to) longest = Math.max(longest, end - begin);
  }
  // Nothing came back at all after some point.
  const last = times.at(-1) ?? from;
  return last < to ? Math.max(longest, to - last) : longest;
}

/** What happens to a path under traffic. */
export interface Break {
  readonly happen: (lab: Lab) => Promise<void>;
  readonly heal?: (lab: Lab) => Promise<void>;
}

/** How long traffic is watched after the break, in milliseconds, and how long before it. */
const WATCH_MS = 2_500;
const LEAD_MS = 800;

/** The application's longest time without an answer when a path breaks: a pulse every ten milliseconds, or a download. */
export async function gapOfBreak(
  postern: PosternInLab,
  { happen }: Break,
  traffic: "pulses" | "bulk",
): Promise<number> {
  const { lab } = postern;
  const ms = LEAD_MS + WATCH_MS;
  const running: Promise<PulseReport | BulkReport> = traffic === "pulses"
    ? runPulses(lab, ms, 10)
    : runBulk(lab, ms);
  // The load's own process has to start, too.
  await sleep(LEAD_MS);
  const from = Date.now();
  await happen(lab);
  const report = await running;
  if ("pulses" in report) return longestGap(report, from, from + WATCH_MS - 500);
  const gaps = report.gaps.filter(({ until }) => until >= from).map((gap) => gap.ms);
  return Math.max(0, ...gaps);
}

/** When the agent last said, since `from`, that its tunnel took that path; milliseconds since 1970. */
export function pathChangeAt(
  postern: PosternInLab,
  path: "direct" | "relayed",
  from: number,
): number | undefined {
  for (const line of postern.process("agent").output().split("\n")) {
    if (!line.startsWith("{")) continue;
    const entry = JSON.parse(line) as Record<string, unknown>;
    if (entry.message !== "path changed" || entry.path !== path) continue;
    const at = Date.parse(String(entry.time));
    if (at >= from) return at;
  }
  return undefined;
}
