/**
 * `postern status`
 * @module
 */
import type { Status } from "../../roles/status.ts";
import { defineCommand } from "../command.ts";
import { switchFlag } from "../flags.ts";
import { listenForStop } from "../signals.ts";
import { askRunning } from "../state_choice.ts";
import { renderStatus } from "../status_screen.ts";
import { createPaint, wantsColour } from "../terminal.ts";

/** Milliseconds between two looks of `--watch`. */
const WATCH_INTERVAL = 1000;
const CLEAR_SCREEN = "\x1b[H\x1b[2J\x1b[3J";

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((go) => {
    const timer = setTimeout(go, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      go();
    }, { once: true });
  });
}

/** Shows the status of the role, or roles, that run here. */
export const status = defineCommand({
  name: "status",
  summary: "Show how the role that runs here is",
  about:
    "Without --state it looks at the default state folders of all roles and shows whichever runs. " +
    "--json prints one object a line for each.",
  args: {},
  flags: {
    json: switchFlag("Print JSON, a contract with programs"),
    watch: switchFlag("Look again each second"),
  },
  examples: [
    ["status", "how it is now"],
    ["status --watch", "and how it goes on"],
    ["status --state r --json | jq .tunnels", "for programs"],
  ],
  async run(values, { io }) {
    const paint = createPaint(wantsColour(io.outIsTerminal, io.env));
    const show = async (signal?: AbortSignal) => {
      const found = await askRunning<Status>(
        values.state,
        { ask: "status" },
        signal ? { signal } : {},
      );
      if (found.length === 0) return;
      const text = found.map(({ answer }) =>
        values.json ? `${JSON.stringify(answer)}\n` : renderStatus(answer, paint)
      ).join(values.json ? "" : "\n");
      io.out(values.watch && io.outIsTerminal && !values.json ? CLEAR_SCREEN + text : text);
    };
    if (!values.watch) {
      await show();
      return 0;
    }
    const stop = listenForStop();
    try {
      while (!stop.signal.aborted) {
        await show(stop.signal);
        await pause(WATCH_INTERVAL, stop.signal);
      }
    } finally {
      stop.dispose();
    }
    return 0;
  },
});
