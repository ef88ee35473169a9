/**
 * `postern demo`
 * @module
 */
import type { DemoOptions } from "../../roles/options.ts";
import { CONNECTION_FLAGS, defineCommand } from "../command.ts";
import { switchFlag } from "../flags.ts";
import { createProgress } from "../progress.ts";
import { createCliLogger, definedOnly } from "../role.ts";
import { listenForStop } from "../signals.ts";
import { systemClock } from "../system_clock.ts";
import { createPaint, wantsColour } from "../terminal.ts";

/** Runs the three roles on this machine and carries real traffic. */
export const demo = defineCommand({
  name: "demo",
  summary: "Show it all on this machine: three processes, real traffic",
  about:
    "Starts a relay, a connector with a web service of its own and an agent, each as its own process, " +
    "and shows each step with its time. Nothing leaves this machine.",
  args: {},
  flags: {
    once: switchFlag("End after one run, instead of staying for you to try things"),
    json: switchFlag("Print one JSON object a line"),
    noDirect: CONNECTION_FLAGS.noDirect,
  },
  examples: [["demo", "watch, then try it yourself"], ["demo --once", "watch only"]],
  async run(values, { io }) {
    const { runDemo } = await import("../../roles/demo.ts");
    const paint = createPaint(wantsColour(io.outIsTerminal, io.env));
    const stop = listenForStop();
    try {
      const options: DemoOptions = {
        log: createCliLogger(values, io),
        signal: stop.signal,
        once: values.once,
        json: values.json,
        noDirect: values.noDirect,
        say: (line) => io.out(`${line}\n`),
        progress: (label, total) =>
          createProgress({
            label,
            total,
            isTerminal: io.outIsTerminal && !values.json,
            columns: io.columns(),
            paint,
            write: values.json ? () => {} : io.out,
            now: systemClock.now,
          }),
        ...definedOnly({ state: values.state }),
      };
      return await runDemo(options);
    } finally {
      stop.dispose();
    }
  },
});
