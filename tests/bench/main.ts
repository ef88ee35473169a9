/**
 * Measures Postern beside its peers: `deno task bench [-- NAME...] [--json] [--quick] [--only TEXT] [--runs N]`.
 *
 * Tables go to stdout; with `--json` one document does. What is being done goes to stderr.
 * @module
 */
import { cpus, release } from "node:os";
import { parseArgs } from "node:util";
import { VERSION } from "../../src/core/version.ts";
import {
  type Benchmark,
  type BenchOptions,
  formatTable,
  type Table,
  tableToJson,
} from "./benchmark.ts";
import { matrixBenchmark } from "./matrix.ts";
import { pathsBenchmark } from "./paths.ts";
import { promptBenchmark } from "./prompt_ways.ts";
import { herdBenchmark } from "./herd.ts";
import { returnBenchmark } from "./return.ts";
import { tcpBenchmark } from "./tcp.ts";

const BENCHMARKS: readonly Benchmark[] = [
  tcpBenchmark,
  pathsBenchmark,
  returnBenchmark,
  herdBenchmark,
  matrixBenchmark,
  promptBenchmark,
];

const HELP = `deno task bench [-- NAME...] [--json] [--quick] [--only TEXT] [--runs N]

${BENCHMARKS.map(({ name, about }) => `  ${name.padEnd(8)} ${about}`).join("\n")}

  --only TEXT   rows of "paths" whose name has TEXT in it
  --runs N      runs of each row of "paths" (20, with --quick 5)
`;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    // `deno task bench -- tcp` hands the "--" on.
    args: Deno.args[0] === "--" ? Deno.args.slice(1) : [...Deno.args],
    allowPositionals: true,
    options: {
      json: { type: "boolean", default: false },
      quick: { type: "boolean", default: false },
      only: { type: "string" },
      runs: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const unknown = positionals.find((name) => !BENCHMARKS.some((bench) => bench.name === name));
  if (unknown !== undefined) {
    const names = BENCHMARKS.map(({ name }) => name).join(", ");
    console.error(`Cannot run "${unknown}" as there is no such benchmark; there are: ${names}`);
    return 2;
  }
  const { quick, only, runs } = values;
  if (runs !== undefined && !/^[1-9][0-9]{0,3}$/.test(runs)) {
    console.error(`Cannot run "${runs}" times as it is no number from 1 to 9999`);
    return 2;
  }
  const options: BenchOptions = {
    quick,
    say: (line) => console.error(line),
    ...(only === undefined ? {} : { only }),
    ...(runs === undefined ? {} : { runs: Number(runs) }),
  };
  const wanted = BENCHMARKS.filter(({ name }) =>
    positionals.length === 0 || positionals.includes(name)
  );
  const results: { name: string; tables: readonly Table[] }[] = [];
  for (const bench of wanted) {
    options.say(`# ${bench.name}: ${bench.about}`);
    const tables = await bench.run(options);
    results.push({ name: bench.name, tables });
    if (!values.json) { for (const table of tables) console.log(`\n${formatTable(table)}`); }
  }
  if (values.json) {
    const machine = { cpus: cpus().length, model: cpus()[0]?.model ?? null, kernel: release() };
    const benchmarks = results.map(({ name, tables }) => ({
      name,
      tables: tables.map(tableToJson),
    }));
    const versions = { postern: VERSION, deno: Deno.version.deno };
    console.log(JSON.stringify({ ...versions, machine, quick, benchmarks }, null, 2));
  }
  return 0;
}

if (import.meta.main) Deno.exit(await main());
