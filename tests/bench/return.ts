/**
 * How soon a client that comes back is served, in a lab with 10 ms per link: 80 ms there and back between the ends over the
 * relay, 40 ms between an end and the relay.
 * @module
 */
import type { ClientStatus } from "../../src/roles/status.ts";
import { TestProcess } from "../e2e/process.ts";
import { program } from "../e2e/scene.ts";
import { Lab } from "../lab/lab.ts";
import { QUIET_ENV } from "../lab/namespaces.ts";
import { LAB_PORTS, PosternInLab } from "../lab/postern_in_lab.ts";
import { labUnavailable } from "../lab/requirements.ts";
import {
  type Benchmark,
  type BenchOptions,
  median,
  percentile,
  round,
  type Table,
} from "./benchmark.ts";

const RUNS = { full: 15, quick: 3 } as const;
const BETWEEN_ENDS_MS = 80;
const TO_RELAY_MS = 40;
/** Tickets come behind the handshake and are written a moment later. */
const TICKETS_MS = 900;

interface Visit {
  readonly milliseconds: number;
  readonly relay: string | null;
  readonly tunnel: string | null | undefined;
  /** From asking for the tunnel until it was direct, in milliseconds. */
  readonly direct: number | null;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function inLab(
  lab: Lab,
  title: string,
  words: readonly string[],
  env: Record<string, string> = {},
) {
  const args = ["netns", "exec", lab.namespace("agent"), ...words];
  return new TestProcess({ title, command: "ip", args, env: { ...QUIET_ENV, ...env } });
}

/** One start of an agent with an application that waits for it. */
async function visit(
  postern: PosternInLab,
  { state, flags = [], invite }: { state: string; flags?: readonly string[]; invite?: string },
): Promise<Visit> {
  const { lab } = postern;
  const client = new URL("first_answer.ts", import.meta.url).pathname;
  const run = [Deno.execPath(), "run", "-A", "--no-check", "--no-config", client];
  await using application = inLab(lab, "application", [...run, String(LAB_PORTS.forward)]);
  await application.line(/waiting/);
  const { command, args } = program();
  const words = ["agent", "--state", state, ...flags, `web=127.0.0.1:${LAB_PORTS.forward}`];
  await using agent = inLab(
    lab,
    "agent",
    [command, ...args, ...words],
    invite === undefined ? {} : { POSTERN_INVITE: invite },
  );
  const { milliseconds } = JSON.parse(await application.line(/^\{/));
  if (milliseconds === null) throw new Error(`Cannot get an answer:\n${agent.output()}`);
  await sleep(TICKETS_MS);
  const asked = await lab.exec("agent", command, [...args, "status", "--json", "--state", state]);
  const status: ClientStatus = JSON.parse(asked.stdout);
  await agent.stop();
  const [tunnel] = status.tunnels;
  return {
    milliseconds,
    relay: status.relay.earlyData,
    tunnel: tunnel?.earlyData,
    direct: tunnel?.directAfterMs ?? null,
  };
}

function row(name: string, visits: readonly Visit[], goal: number | null) {
  const times = visits.map(({ milliseconds }) => milliseconds);
  const direct = visits.flatMap((visit) => visit.direct === null ? [] : [visit.direct]);
  const seen = new Set(visits.map(({ relay, tunnel }) => `${relay} / ${tunnel ?? "-"}`));
  return [
    name,
    visits.length,
    round(median(times)),
    round(percentile(times, 95)),
    round(Math.min(...times)),
    goal,
    direct.length > 0 ? round(median(direct)) : null,
    [...seen].join(", "),
  ];
}

async function agentRows(postern: PosternInLab, { quick, say }: BenchOptions) {
  const runs = quick ? RUNS.quick : RUNS.full;
  const cold: Visit[] = [];
  const states: string[] = [];
  for (let i = 0; i < Math.min(5, runs); i++) {
    say(`cold start ${i + 1}`);
    const made = await postern.postern("relay", [
      "invite",
      "agent",
      `guest-${i}`,
      "--allow",
      "web",
    ]);
    const state = `${postern.folder}/guest-${i}`;
    states.push(state);
    cold.push(await visit(postern, { state, invite: made.stdout.trim() }));
  }
  const state = states[0]!;
  const early: Visit[] = [];
  const full: Visit[] = [];
  for (let i = 0; i < runs; i++) {
    say(`return ${i + 1} of ${runs}`);
    early.push(await visit(postern, { state }));
    full.push(await visit(postern, { state, flags: ["--no-early-data"] }));
  }
  const goal = round(1.15 * BETWEEN_ENDS_MS);
  return [
    row("agent, cold start (joins the network first)", cold, null),
    row("agent comes back, full handshakes (--no-early-data)", full, null),
    row("agent comes back, 0-RTT", early, goal),
  ];
}

async function connectorRow(postern: PosternInLab, { quick, say }: BenchOptions) {
  const visits: Visit[] = [];
  for (let i = 0; i < (quick ? RUNS.quick : RUNS.full); i++) {
    say(`connector returns ${i + 1}`);
    await postern.stopRole("connector");
    await postern.startRole("connector").ready();
    const { relay } = await postern.status("connector") as ClientStatus;
    const milliseconds = relay.connectMs ?? NaN;
    visits.push({ milliseconds, relay: relay.earlyData, tunnel: null, direct: null });
    await sleep(TICKETS_MS);
  }
  return row("connector comes back to the relay, 0-RTT", visits, round(1.15 * TO_RELAY_MS));
}

/** See the module's head. */
export const returnBenchmark: Benchmark = {
  name: "return",
  about: "how soon a client that comes back is served (lab; needs root)",
  async run(options) {
    const columns = [
      "what",
      "runs",
      "p50 ms",
      "p95 ms",
      "best ms",
      "goal ms",
      "tunnel direct, p50 ms",
      "early: relay / tunnel",
    ];
    const title = "From the application's question to the first byte of its answer";
    const reason = labUnavailable();
    if (reason !== undefined) {
      return [{ title, columns, rows: [], notes: [`skipped, as ${reason}`] }];
    }
    await using lab = await Lab.create({ v6: "off", link: { delayMs: 10 } });
    await using postern = await PosternInLab.start(lab);
    try {
      await postern.stopRole("agent");
      const rows = await agentRows(postern, options);
      const table: Table = {
        title,
        columns,
        rows: [...rows, await connectorRow(postern, options)],
        notes: [
          `There and back: ${BETWEEN_ENDS_MS} ms between the ends over the relay, ${TO_RELAY_MS} ms to the relay.`,
          "Each visit is a new process; the application waits for its port and asks at once.",
          "Direct: from asking for the tunnel, which a client that comes back does at its start.",
          "Connector: from its first datagram to the relay's welcome.",
        ],
      };
      return [table];
    } catch (error) {
      console.error(postern.logs());
      throw error;
    }
  },
};
