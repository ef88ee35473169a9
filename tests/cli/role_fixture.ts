/**
 * A role that says ready, and stops when asked, or (with `stubborn`) does not.
 * @module
 */
import { COMMON_FLAGS } from "../../src/cli/command.ts";
import { systemIo } from "../../src/cli/io.ts";
import { runRole } from "../../src/cli/role.ts";

const stubborn = Deno.args.includes("stubborn");
const values = {
  ...Object.fromEntries(Object.entries(COMMON_FLAGS).map(([key, flag]) => [key, flag.fallback])),
  state: "/tmp",
  noDirect: false,
  noEarlyData: false,
} as Parameters<typeof runRole>[1];

Deno.exit(
  await runRole("agent", values, { io: systemIo(), self: "postern" }, async (common) => {
    common.say("fixture ready");
    const alive = setInterval(() => {}, 1000);
    await new Promise<void>((go) => common.signal.addEventListener("abort", () => go()));
    if (stubborn) await new Promise(() => {});
    clearInterval(alive);
  }),
);
