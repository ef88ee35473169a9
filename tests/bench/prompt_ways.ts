/**
 * A chat beside bulk on a path that loses packets, for plain TCP, `ssh -L` and Postern's direct path, in the same lab and the same
 * run: what `ssh` must do in one TCP connection, a tunnel does in streams of their own.
 * @module
 */
import { fromFileUrl } from "../e2e/paths.ts";
import { run, TestProcess } from "../e2e/process.ts";
import { freePort } from "../e2e/scene.ts";
import { Lab, labUnavailable, RELAY } from "../lab/mod.ts";
import {
  type Benchmark,
  type BenchOptions,
  type Cell,
  percentile,
  round,
  type Table,
} from "./benchmark.ts";
import type { BesideResult } from "./load.ts";
import type { HostName, Hosts, StartOptions } from "./place.ts";
import { plainWay, posternWay, sshUnavailable, sshWay, type Way } from "./ways.ts";

const LOAD = fromFileUrl(new URL("load.ts", import.meta.url));
const DENO_RUN = [Deno.execPath(), "run", "-A", "--no-check", "--no-config", LOAD];

const MBPS = 50;
/** Time for a tunnel to go direct and settle there. */
const SETTLE_MS = 3_000;
/** The start of a transfer is another matter. */
const WARM_UP_MS = 2_000;

/** A lab's hosts. */
class LabHosts implements Hosts {
  readonly addresses: Readonly<Record<HostName, string>>;
  readonly #lab: Lab;
  readonly #processes: TestProcess[] = [];

  constructor(lab: Lab) {
    this.#lab = lab;
    this.addresses = {
      agent: lab.addresses("agent").v4,
      relay: RELAY.v4[0],
      connector: lab.addresses("connector").v4,
    };
  }

  wrap(host: HostName, words: readonly string[]): string[] {
    return ["ip", "netns", "exec", this.#lab.namespace(host), ...words];
  }

  start(
    host: HostName,
    title: string,
    words: readonly string[],
    options: StartOptions = {},
  ): TestProcess {
    const [command, ...args] = this.wrap(host, words);
    const process = new TestProcess({ title, command: command!, args, env: { ...options.env } });
    this.#processes.push(process);
    return process;
  }

  logs(): string {
    return this.#processes.map((one) => `---- ${one.title}\n${one.output()}`).join("\n");
  }

  async stop(): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.stop("SIGTERM", 3_000)));
  }
}

async function measure(
  hosts: Hosts,
  way: Way,
  direction: "up" | "down",
  ms: number,
): Promise<BesideResult> {
  const words = [...DENO_RUN, `beside-${direction}`, way.at, String(WARM_UP_MS), String(ms)];
  const [first, ...rest] = hosts.wrap("agent", words);
  const { code, stdout, stderr } = await run(first!, rest, { withinMs: ms + 60_000 });
  if (code !== 0) throw new Error(`Cannot measure ${way.title}: ${stderr}`);
  return JSON.parse(stdout);
}

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
  const hosts = new LabHosts(lab);
  try {
    const target = `${hosts.addresses.connector}:${freePort()}`;
    await hosts.start("connector", "load server", [...DENO_RUN, "serve", target]).ready();
    const options = { place: hosts, target, folder };
    const ways = [plainWay(options), await posternWay(options, { direct: true })];
    if (!sshUnavailable()) ways.push(await sshWay(options));
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    const rows: Cell[][] = [];
    for (const direction of ["up", "down"] as const) {
      for (const way of ways) {
        say(`four bulk flows and an echo, ${rtt} ms, ${direction}: ${way.title}`);
        const { megabits, milliseconds } = await measure(
          hosts,
          way,
          direction,
          quick ? 4_000 : 15_000,
        );
        const mean = megabits.reduce((a, b) => a + b) / megabits.length;
        const spread = Math.max(...megabits.map((each) => Math.abs(each / mean - 1))) * 100;
        rows.push([
          rtt,
          direction,
          way.title,
          round(mean * megabits.length),
          round(spread),
          round(percentile(milliseconds, 50)),
          round(percentile(milliseconds, 99)),
          2 * rtt + 20,
        ]);
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
  for (const rtt of options.quick ? [10] : [10, 40]) rows.push(...await rowsAt(rtt, options));
  const ssh = sshUnavailable();
  return [{
    title:
      `Four bulk flows and one echo of 100 bytes, in the lab: ${MBPS} Mbit/s, 1 % loss each way`,
    columns: [
      "RTT ms",
      "bulk",
      "way",
      "bulk Mbit/s",
      "share off by %",
      "echo p50 ms",
      "echo p99 ms",
      "wanted p99 ms",
    ],
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
