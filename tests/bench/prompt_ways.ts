/**
 * A chat beside bulk on a path that loses packets, for plain TCP, `ssh -L` and Postern's direct path, in the same lab and the same
 * run: what `ssh` must do in one TCP connection, a tunnel does in streams of their own.
 * @module
 */
import { Lab, labUnavailable } from "../lab/mod.ts";
import type { Benchmark, BenchOptions, Cell, Table } from "./benchmark.ts";
import type { BesideResult } from "./load.ts";
import { runLoad, startLoadServer } from "./load_runs.ts";
import { Hosts } from "./place.ts";
import { PROMPT_COLUMNS, promptCells } from "./prompt.ts";
import { plainWay, posternWay, sshUnavailable, sshWay } from "./ways.ts";

const MBPS = 50;
/** Time for a tunnel to go direct and settle there. */
const SETTLE_MS = 3_000;
/** The start of a transfer is another matter. */
const WARM_UP_MS = 2_000;

/** Both ends have public addresses, so that all three ways take the same path: two links, each with half of delay and loss. */
async function rowsAt(rtt: number, { quick, say }: BenchOptions): Promise<Cell[][]> {
  const link = {
    delayMs: rtt / 4,
    lossPercent: 0.5,
    rateMbit: MBPS,
    queueKib: Math.max(64, Math.round(MBPS * 125 * rtt / 4 / 1024)),
  };
  const lab = await Lab.create({
    a: "none",
    b: "none",
    v6: "off",
    link,
    linkR: { lossPercent: 0, rateMbit: 0 },
  });
  const folder = await Deno.makeTempDir({ prefix: "postern-bench-" });
  const hosts = Hosts.inLab(lab);
  try {
    const target = await startLoadServer(hosts);
    const options = { place: hosts, target, folder };
    const ways = [plainWay(options), await posternWay(options, { direct: true })];
    if (!sshUnavailable()) ways.push(await sshWay(options));
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    const rows: Cell[][] = [];
    for (const direction of ["up", "down"] as const) {
      for (const way of ways) {
        say(`four bulk flows and an echo, ${rtt} ms, ${direction}: ${way.title}`);
        const ms = quick ? 4_000 : 15_000;
        const words = [`beside-${direction}`, way.at, WARM_UP_MS, ms];
        const { megabits, milliseconds } = await runLoad<BesideResult>(hosts, words, {
          withinMs: ms + 60_000,
        });
        const result = { bulk: megabits, echoes: milliseconds };
        rows.push([rtt, direction, way.title, ...promptCells(result, rtt)]);
      }
    }
    return rows;
  } catch (error) {
    say(hosts.logs());
    throw error;
  } finally {
    await hosts.stop();
    await lab.destroy();
    await Deno.remove(folder, { recursive: true });
  }
}

async function promptWaysTable(options: BenchOptions): Promise<Table[]> {
  const why = labUnavailable();
  if (why) {
    options.say(`skipped: ${why}`);
    return [];
  }
  const rows: Cell[][] = [];
  for (const rtt of options.quick ? [10] : [10, 40, 100]) rows.push(...await rowsAt(rtt, options));
  const ssh = sshUnavailable();
  return [{
    title:
      `Four bulk flows and one echo of 100 bytes, in the lab: ${MBPS} Mbit/s, 1 % loss each way`,
    columns: ["RTT ms", "bulk", "way", ...PROMPT_COLUMNS],
    rows,
    notes: ssh ? [`ssh is left out as ${ssh}`] : [],
  }];
}

/** `deno task bench -- prompt` */
export const promptBenchmark: Benchmark = {
  name: "prompt",
  about: "an echo beside four bulk flows at 1 % loss: plain TCP, ssh -L, Postern's direct path",
  run: promptWaysTable,
};
