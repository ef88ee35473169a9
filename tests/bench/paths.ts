/**
 * How soon a tunnel is direct, and what a broken path costs, in a lab with 10 ms per link: 40 ms there and back between the
 * ends directly, 80 ms over the relay.
 * @module
 */
import { Lab } from "../lab/lab.ts";
import type { LabOptions } from "../lab/options.ts";
import { LAB_PORTS, PosternInLab } from "../lab/postern_in_lab.ts";
import { labUnavailable } from "../lab/requirements.ts";
import {
  type Benchmark,
  type BenchOptions,
  type Cell,
  median,
  percentile,
  round,
  type Table,
} from "./benchmark.ts";
import {
  type Break,
  gapOfBreak,
  type NewTunnel,
  newTunnel,
  pathChangeAt,
  PULSE_PROGRAM,
  runPulses,
  sleep,
  untilPath,
} from "./path_runs.ts";

const RUNS = { full: 20, quick: 5 } as const;

/** The time on the way that tells the paths apart: 20 ms directly, 40 ms over the relay. */
const BETWEEN_MS = 32;

const LINK = { delayMs: 10 };
const PUNCH: LabOptions = { v6: "off", link: LINK };
const V6: LabOptions = { a: "symmetric", b: "symmetric", v6: "firewall", link: LINK };

/** A row about new tunnels. */
interface NewRow {
  readonly name: string;
  readonly lab: LabOptions;
  readonly goal: string;
  readonly best: string;
  /** Which end is started anew before each run. @default "connector" */
  readonly restart?: "connector" | "agent";
  readonly directBelowMs?: number | null;
  readonly watchMs?: number;
}

const NONE_KNOWN = "-";

const NEW_ROWS: readonly NewRow[] = [
  {
    name: "port-restricted × port-restricted, IPv4",
    lab: PUNCH,
    goal: "first byte <= 170",
    best: "208 (hyperdht)",
  },
  {
    name: "the same, the agent just started: it opens its tunnel unasked",
    lab: PUNCH,
    goal: NONE_KNOWN,
    best: NONE_KNOWN,
    restart: "agent",
  },
  {
    name: "IPv6, stateful firewalls",
    lab: V6,
    goal: "first byte <= 170",
    best: NONE_KNOWN,
  },
  {
    name: "port-restricted × port-restricted, 2 % loss on every link",
    lab: { ...PUNCH, link: { ...LINK, lossPercent: 2 } },
    goal: "p95 <= 500",
    best: "seconds",
    watchMs: 2_000,
  },
  {
    name: "IPv6, stateful firewalls, 2 % loss on every link",
    lab: { ...V6, link: { ...LINK, lossPercent: 2 } },
    goal: "p95 <= 500",
    best: "seconds",
    watchMs: 2_000,
  },
  {
    name: "one LAN, 1 ms there and back; the relay 4 ms away",
    lab: { lan: true, link: { delayMs: 1 } },
    goal: "direct <= 30",
    best: NONE_KNOWN,
    directBelowMs: null,
  },
  {
    name: "port-restricted × symmetric",
    lab: { ...PUNCH, b: "symmetric" },
    goal: "<= 2000",
    best: "391 (hyperdht)",
    watchMs: 3_000,
  },
  {
    name: "symmetric × port-restricted",
    lab: { ...PUNCH, a: "symmetric" },
    goal: "<= 2000",
    best: NONE_KNOWN,
    watchMs: 3_000,
  },
  {
    name: "symmetric × symmetric",
    lab: { ...PUNCH, a: "symmetric", b: "symmetric" },
    goal: "stays relayed, and says why",
    best: NONE_KNOWN,
    watchMs: 3_000,
  },
];

/** A row about a path that breaks under traffic. */
interface BreakRow extends Break {
  readonly name: string;
  readonly goal: string;
  readonly best: string;
  readonly traffic: "pulses" | "bulk";
}

const CUT: Break = { happen: (lab) => lab.cutDirect(), heal: (lab) => lab.healDirect() };

const BREAK_ROWS: readonly BreakRow[] = [
  { name: "direct path cut, echo every 10 ms", goal: "p95 <= 1000", best: "5000-15000", ...CUT },
  { name: "direct path cut, download", goal: "p95 <= 1000", best: "5000-15000", ...CUT },
  {
    name: "the agent's NAT rebinds, echo every 10 ms",
    goal: "p95 <= 300",
    best: NONE_KNOWN,
    happen: (lab: Lab) => lab.rebind("A"),
  },
  {
    name: "the connector's NAT rebinds, echo every 10 ms",
    goal: "p95 <= 300",
    best: NONE_KNOWN,
    happen: (lab: Lab) => lab.rebind("B"),
  },
  {
    name: "the agent's NAT rebinds, download",
    goal: "p95 <= 300",
    best: NONE_KNOWN,
    happen: (lab: Lab) => lab.rebind("A"),
  },
].map((row) => ({ ...row, traffic: row.name.endsWith("download") ? "bulk" : "pulses" }));

/** The middle, the 95th percentile and the largest, of the values that there are. */
function spread(values: readonly (number | null)[]): Cell[] {
  const known = values.flatMap((value) => value === null ? [] : [value]);
  return [median(known), percentile(known, 95)].map(round);
}

/** Without early data: what a first contact takes, not a return. */
function startIn(lab: Lab): Promise<PosternInLab> {
  const flags = ["--log-format", "json", "--log-level", "debug"];
  return PosternInLab.start(lab, {
    flags: { agent: [...flags, "--no-early-data"], connector: flags },
    service: [PULSE_PROGRAM, "serve", String(LAB_PORTS.service)],
  });
}

async function newRow(row: NewRow, runs: number, say: (line: string) => void): Promise<Cell[]> {
  await using lab = await Lab.create(row.lab);
  await using postern = await startIn(lab);
  const { restart = "connector", directBelowMs = BETWEEN_MS, watchMs = 700 } = row;
  const results: NewTunnel[] = [];
  for (let run = 0; run < runs; run++) {
    const result = await newTunnel(postern, { restart, directBelowMs, watchMs });
    results.push(result);
    const { openMs, directMs, firstByteMs, movedByteMs, whyRelayed } = result;
    const cells = [openMs, directMs, firstByteMs, movedByteMs].map(round);
    say(`${row.name}: ${run + 1}/${runs}: ${cells.join(" ")} ${whyRelayed ?? ""}`);
  }
  const direct = results.filter(({ directMs }) => directMs !== null);
  return [
    row.name,
    `${direct.length}/${runs}`,
    spread(results.map(({ openMs }) => openMs))[0]!,
    ...spread(results.map(({ directMs }) => directMs)),
    ...spread(results.map(({ firstByteMs }) => firstByteMs)),
    ...spread(results.map(({ movedByteMs }) => movedByteMs)),
    row.goal,
    row.best,
    direct.length === 0 ? results[0]?.whyRelayed ?? null : null,
  ];
}

/** Gaps of a row, one for each run that went direct at first, and how long after the healing the tunnel was direct again. */
async function breakRow(
  row: BreakRow,
  runs: number,
  say: (line: string) => void,
): Promise<{ gaps: number[]; returns: (number | null)[] }> {
  await using lab = await Lab.create(PUNCH);
  await using postern = await startIn(lab);
  const gaps: number[] = [];
  const returns: (number | null)[] = [];
  for (let run = 0; run < runs; run++) {
    await postern.stopRole("connector", "SIGKILL");
    await postern.startRole("connector").ready();
    await sleep(300);
    await runPulses(lab, 400);
    if (!await untilPath(postern, "direct", 5_000)) {
      say(`${row.name}: ${run + 1}/${runs}: not direct, so there is nothing to break`);
      continue;
    }
    const gap = await gapOfBreak(postern, row, row.traffic);
    gaps.push(gap);
    if (row.heal) {
      // "Again within ..." holds under traffic.
      const traffic = runPulses(lab, 5_000, 50);
      await sleep(500);
      await row.heal(lab);
      const healed = Date.now();
      await traffic;
      const at = pathChangeAt(postern, "direct", healed);
      returns.push(at === undefined ? null : at - healed);
    }
    say(`${row.name}: ${run + 1}/${runs}: ${round(gap)} ${round(returns.at(-1) ?? null) ?? ""}`);
  }
  return { gaps, returns };
}

async function run({ quick, say, only, runs: wish }: BenchOptions): Promise<Table[]> {
  const why = labUnavailable();
  if (why !== undefined) {
    return [{ title: "Paths", columns: ["skipped"], rows: [[`as ${why}`]] }];
  }
  const runs = wish ?? (quick ? RUNS.quick : RUNS.full);
  const wanted = ({ name }: { name: string }) => only === undefined || name.includes(only);
  const news: Cell[][] = [];
  for (const row of NEW_ROWS.filter(wanted)) news.push(await newRow(row, runs, say));
  const breaks: Cell[][] = [];
  const returns: (number | null)[] = [];
  for (const row of BREAK_ROWS.filter(wanted)) {
    const result = await breakRow(row, runs, say);
    const direct = `${result.gaps.length}/${runs}`;
    breaks.push([row.name, direct, ...spread(result.gaps), row.goal, row.best]);
    returns.push(...result.returns);
  }
  if (returns.length > 0) {
    const [p50, p95] = spread(returns);
    const lost = returns.filter((value) => value === null).length;
    const name = "direct path healed, until direct again";
    breaks.push([
      name,
      `${returns.length - lost}/${returns.length}`,
      p50!,
      p95!,
      "<= 2000",
      NONE_KNOWN,
    ]);
  }
  return [
    {
      title: `New tunnels, without 0-RTT: milliseconds from the question (${runs} runs each)`,
      columns: [
        "network",
        "direct",
        "open p50",
        "direct p50",
        "direct p95",
        "first byte p50",
        "first byte p95",
        "moved p50",
        "moved p95",
        "goal",
        "best seen",
        "why relayed",
      ],
      rows: news,
      notes: [
        "direct: the tunnel has migrated, as the agent's status says.",
        "first byte: the service has the first byte that came straight from the agent, as its time on the way shows (20 ms " +
        "instead of 40); a byte is sent every 4 ms, on ten connections in turns. That may be before the tunnel has migrated, as " +
        "a young tunnel's packets go both ways.",
        "moved: the service has the first byte of those sent after the tunnel had migrated.",
        "best seen: on the same links, from a first connection to a direct one.",
      ],
    },
    {
      title: `Broken paths: longest time without an answer, in milliseconds (${runs} runs each)`,
      columns: ["what", "direct", "p50", "p95", "goal", "best seen"],
      rows: breaks,
      notes: [
        "direct: runs in which the tunnel came to be direct, so that there was something to break.",
      ],
    },
  ];
}

/** How soon tunnels are direct, and what broken paths cost. */
export const pathsBenchmark: Benchmark = {
  name: "paths",
  about: "how soon a tunnel is direct, and what a broken path costs its traffic",
  run,
};
