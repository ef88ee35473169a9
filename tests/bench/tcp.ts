/**
 * TCP through the tunnel, relayed, beside plain TCP and `ssh`, in the same run: on loopback, and over veth pairs.
 *
 * Each round measures every way once, up and down, so that what else the machine does hits all alike; figures are medians.
 * @module
 */
import {
  type Benchmark,
  type BenchOptions,
  type Cell,
  median,
  percentile,
  round,
  type Table,
} from "./benchmark.ts";
import type { BulkResult, RoundsResult } from "./load.ts";
import { runLoad, startLoadServer } from "./load_runs.ts";
import { Place } from "./place.ts";
import { usageOf } from "./proc.ts";
import { plainWay, posternWay, sshRelayedWay, sshUnavailable, sshWay, type Way } from "./ways.ts";

const GIB = 2 ** 30;
const MIB = 2 ** 20;

interface Plan {
  readonly rounds: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
  readonly echoes: number;
  readonly connects: number;
}

const FULL: Plan = { rounds: 5, warmUpMs: 1_000, measureMs: 3_000, echoes: 2_000, connects: 500 };
const QUICK: Plan = { rounds: 1, warmUpMs: 500, measureMs: 1_000, echoes: 300, connects: 100 };

/** All that was measured on one way. */
interface Measured {
  readonly up: number[];
  readonly down: number[];
  readonly echo: number[];
  readonly connect: number[];
  readonly echoBesideBulk: number[];
  /** CPU seconds per GiB of every bulk run, by carrier. */
  readonly cpu: Record<string, number[]>;
}

async function bulk(
  place: Place,
  way: Way,
  what: { direction: "up" | "down"; plan: Plan; into: Measured },
) {
  const { direction, plan, into } = what;
  const cpuOf = () => Object.values(way.carriers).map((pid) => usageOf(pid).cpuSeconds);
  const before = cpuOf();
  const times = [plan.warmUpMs, plan.measureMs];
  const result = await runLoad<BulkResult>(place, [direction, way.at, ...times]);
  const after = cpuOf();
  into[direction].push(result.megabits);
  // The warm-up's bytes cost CPU too: taken to be as fast as the rest.
  const gibibytes = result.bytes / GIB * (1 + plan.warmUpMs / plan.measureMs);
  Object.keys(way.carriers).forEach((name, i) =>
    (into.cpu[name] ??= []).push((after[i]! - before[i]!) / gibibytes)
  );
}

async function latencies(place: Place, way: Way, plan: Plan, into: Measured) {
  const echo = await runLoad<RoundsResult>(place, ["echo", way.at, plan.echoes]);
  into.echo.push(...echo.milliseconds);
  const connect = await runLoad<RoundsResult>(place, ["connect", way.at, plan.connects]);
  into.connect.push(...connect.milliseconds);
  const [beside] = await Promise.all([
    new Promise((resolve) => setTimeout(resolve, 500)).then(() =>
      runLoad<RoundsResult>(place, ["echo", way.at, plan.echoes, plan.measureMs - 500])
    ),
    runLoad<BulkResult>(place, ["down", way.at, 0, plan.measureMs + 500]),
  ]);
  into.echoBesideBulk.push(...beside.milliseconds);
}

async function measurePlace(place: Place, options: BenchOptions): Promise<Table> {
  const plan = options.quick ? QUICK : FULL;
  const folder = await Deno.makeTempDir({ prefix: "postern-bench-" });
  const notes: string[] = [];
  try {
    const target = await startLoadServer(place);
    const wayOptions = { place, target, folder };
    const ways = [plainWay(wayOptions), await posternWay(wayOptions)];
    const noSsh = sshUnavailable();
    if (noSsh) notes.push(`ssh is left out as ${noSsh}`);
    else ways.push(await sshWay(wayOptions), await sshRelayedWay(wayOptions));
    const all = new Map(ways.map((way): [Way, Measured] => [
      way,
      { up: [], down: [], echo: [], connect: [], echoBesideBulk: [], cpu: {} },
    ]));
    for (let i = 1; i <= plan.rounds; i++) {
      for (const [way, into] of all) {
        options.say(`${place.title}, round ${i} of ${plan.rounds}: ${way.title}`);
        await bulk(place, way, { direction: "up", plan, into });
        await bulk(place, way, { direction: "down", plan, into });
      }
    }
    for (const [way, into] of all) {
      options.say(`${place.title}, latency: ${way.title}`);
      await latencies(place, way, plan, into);
    }
    return tableOf(place.title, all, notes);
  } catch (error) {
    options.say(place.logs());
    throw error;
  } finally {
    await place[Symbol.asyncDispose]();
    await Deno.remove(folder, { recursive: true });
  }
}

const COLUMNS = [
  "way",
  "up Mbit/s",
  "down Mbit/s",
  "connect+echo p50 ms",
  "connect+echo p99 ms",
  "echo p50 ms",
  "echo p99 ms",
  "echo beside bulk p50 ms",
  "echo beside bulk p99 ms",
  "CPU s/GiB",
  "memory MiB",
];

function tableOf(title: string, all: Map<Way, Measured>, notes: string[]): Table {
  const rows = [...all].map(([way, measured]): Cell[] => {
    const cpu = Object.entries(measured.cpu).map(([name, values]) =>
      `${name} ${round(median(values))}`
    );
    const memory = Object.entries(way.carriers).map(([name, pid]) =>
      `${name} ${round(usageOf(pid).residentBytes / MIB)}`
    );
    const pair = (values: number[]) => [median(values), percentile(values, 99)].map(round);
    return [
      way.title,
      round(median(measured.up)),
      round(median(measured.down)),
      ...pair(measured.connect),
      ...pair(measured.echo),
      ...pair(measured.echoBesideBulk),
      cpu.join(", ") || null,
      memory.join(", ") || null,
    ];
  });
  return { title: `TCP over ${title}`, columns: COLUMNS, rows, notes: [...notes, ...ratios(all)] };
}

/** Postern's speed as a part of each other way's. */
function ratios(all: Map<Way, Measured>): string[] {
  const [plain, postern, ...ssh] = [...all];
  return [plain!, ...ssh].map(([way, measured]) => {
    const part = (direction: "up" | "down") =>
      round((median(postern![1][direction]) ?? NaN) / (median(measured[direction]) ?? NaN));
    return `postern / ${way.title}: up ${part("up")}, down ${part("down")}`;
  });
}

/** `deno task bench -- tcp` */
export const tcpBenchmark: Benchmark = {
  name: "tcp",
  about: "TCP through the tunnel, relayed, beside plain TCP and ssh",
  async run(options) {
    const tables = [await measurePlace(Place.loopback(), options)];
    const noVeth = Place.vethUnavailable();
    if (noVeth) options.say(`veth is skipped: ${noVeth}`);
    else tables.push(await measurePlace(await Place.veth(), options));
    return tables;
  },
};
