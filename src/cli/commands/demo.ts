/**
 * `postern demo`
 * @module
 */
import type { DemoOptions } from "../../roles/options.ts";
import { CONNECTION_FLAGS, defineCommand } from "../command.ts";
import { defaultedFlag, switchFlag } from "../flags.ts";
import { createProgress } from "../progress.ts";
import { readInteger } from "../readers.ts";
import { createCliLogger, definedOnly } from "../role.ts";
import { listenForStop } from "../signals.ts";
import { systemClock } from "../system_clock.ts";
import { createPaint, wantsColour } from "../terminal.ts";

/** To the line's begin, and nothing on it any more. */
const CLEAR_LINE = "\r\x1b[K";

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
    json: switchFlag("Print one JSON document when the steps are done"),
    transfer: defaultedFlag({
      value: "MIB",
      read: readInteger({ min: 1, max: 4096 }),
      shown: "64",
      help: "How many MiB to carry each way",
    }),
    noDirect: CONNECTION_FLAGS.noDirect,
  },
  examples: [["demo", "watch, then try it yourself"], ["demo --once", "watch only"]],
  async run(values, { io, self }) {
    const { runDemo } = await import("../../roles/demo.ts");
    const paint = createPaint(wantsColour(io.outIsTerminal, io.env));
    const stop = listenForStop();
    const isLive = io.outIsTerminal && !values.json;
    const clear = isLive ? CLEAR_LINE : "";
    try {
      const options: DemoOptions = {
        log: createCliLogger(values, io),
        signal: stop.signal,
        once: values.once,
        json: values.json,
        noDirect: values.noDirect,
        self,
        paint,
        transferBytes: values.transfer * 2 ** 20,
        say: (line) => io.out(`${clear}${line}\n`),
        working(what) {
          if (isLive) io.out(what === undefined ? clear : `${clear}${paint.dim(`· ${what} …`)}`);
        },
        progress: (label, total) =>
          createProgress({
            label,
            total,
            isTerminal: isLive,
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
