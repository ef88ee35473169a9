/**
 * `postern ping`
 * @module
 */
import { parseName } from "../../identity/name.ts";
import type { PingAnswer } from "../../roles/asks.ts";
import { defineCommand } from "../command.ts";
import { argument, defaultedFlag, switchFlag } from "../flags.ts";
import { formatMillis } from "../format.ts";
import { readDuration, readInteger } from "../readers.ts";
import { listenForStop } from "../signals.ts";
import { runningFolder } from "../state_choice.ts";
import { createPaint, escapeControl, type Paint, wantsColour } from "../terminal.ts";

/** One answer as a line. */
export function renderPing(answer: PingAnswer, paint: Paint): string {
  if (answer.event === "lost") return `${String(answer.seq).padStart(4)}  ${paint.red("lost")}`;
  const path = answer.path === "direct" ? paint.green("direct") : paint.yellow("relayed");
  const remote = answer.remote === null ? "" : `  ${escapeControl(answer.remote)}`;
  if (answer.event === "echo") {
    return `${String(answer.seq).padStart(4)}  ${
      formatMillis(answer.ms).padStart(8)
    }  ${path}${remote}`;
  }
  const after = answer.afterMs === null ? "" : `  after ${formatMillis(answer.afterMs)}`;
  const reason = answer.reason === null ? "" : `  (${escapeControl(answer.reason)})`;
  return `      now ${path}${remote}${after}${reason}`;
}

/** Median of a list that is not empty. */
function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The last line: how many came back, and how fast. */
export function renderPingSummary(times: readonly number[], lost: number): string {
  const total = times.length + lost;
  const head = `${times.length} of ${total} came back`;
  if (times.length === 0) return head;
  const [least, most] = [Math.min(...times), Math.max(...times)];
  return `${head}; least ${formatMillis(least)}, median ${formatMillis(medianOf(times))}, most ${
    formatMillis(most)
  }`;
}

/** Echoes through the tunnel, asked of the agent that runs here. */
export const ping = defineCommand({
  name: "ping",
  summary: "Time the way to a service, echo by echo",
  about:
    "Asks the agent that runs here to send echoes through its tunnel to the service's connector, and " +
    "says on which path each went and when the tunnel goes direct.",
  args: {
    service: argument({
      label: "SERVICE",
      read: (text) => parseName(text, { what: "service name" }),
      help: "the service's name",
    }),
  },
  flags: {
    count: defaultedFlag({
      value: "N",
      short: "c",
      read: readInteger({ min: 0, max: 1_000_000 }),
      shown: "5",
      help: "Stop after N echoes; 0: go on until interrupted",
    }),
    interval: defaultedFlag({
      value: "TIME",
      short: "i",
      read: (text) =>
        /^\d+ms$/.test(text)
          ? readInteger({ min: 100, max: 3_600_000 })(text.slice(0, -2))
          : readDuration(text),
      shown: "1s",
      help: "Wait so long between echoes (100ms at least)",
    }),
    json: switchFlag("Print one JSON object a line"),
  },
  examples: [
    ["ping web", "five echoes"],
    ["ping web -c 0", "until Ctrl-C"],
  ],
  async run(values, { io }) {
    const { askStatus } = await import("../../roles/status_client.ts");
    const state = await runningFolder(values.state, ["agent"]);
    const paint = createPaint(wantsColour(io.outIsTerminal, io.env));
    const stop = listenForStop();
    const times: number[] = [];
    let lost = 0;
    try {
      const answers = askStatus(state, {
        ask: "ping",
        service: values.service,
        count: values.count,
        intervalMs: values.interval,
        timeoutMs: Math.max(values.interval, 2000),
      }, { signal: stop.signal });
      for await (const one of answers) {
        const answer = one as PingAnswer;
        if (answer.event === "echo") times.push(answer.ms);
        if (answer.event === "lost") lost++;
        io.out(`${values.json ? JSON.stringify(answer) : renderPing(answer, paint)}\n`);
      }
    } finally {
      stop.dispose();
    }
    if (!values.json) io.out(`${renderPingSummary(times, lost)}\n`);
    return times.length > 0 ? 0 : 1;
  },
});
