/**
 * The demo: relay, connector and agent as three processes of this very program on the loopback, and real traffic through
 * them, step by step.
 * @module
 */
import { messageOf } from "../core/mod.ts";
import { VERSION } from "../core/version.ts";
import { sleep } from "./waiting.ts";
import { DemoReport, StepFailed } from "./demo/report.ts";
import { Script, wasStopped } from "./demo/script.ts";
import { Stage } from "./demo/stage.ts";
import { LargeBody, WebService } from "./demo/web_service.ts";
import type { DemoOptions } from "./options.ts";

/**
 * Runs the demo and cleans up after it; answers the exit code: 0 all steps done, 1 not.
 *
 * @throws {UserError} where the folder that it was given cannot be used
 */
export async function runDemo(given: DemoOptions): Promise<number> {
  const hangUp = listenForHangUp();
  const signal = AbortSignal.any([given.signal, hangUp.signal]);
  const options = { ...given, signal };
  const report = new DemoReport(options);
  let error: unknown;
  try {
    await using stage = await Stage.open({ state: options.state, relayedOnly: options.noDirect });
    const body = new LargeBody(options.transferBytes);
    await using service = new WebService(body);
    report.say(
      `${options.paint.bold(`Postern ${VERSION}`)}: a relay, a connector and an agent, ` +
        "each a process of its own, on this machine",
    );
    report.say();
    const script = new Script({ options, report, stage, service, body });
    try {
      await script.play();
    } catch (cause) {
      error = cause;
    }
    options.working(undefined);
    if (error === undefined || wasStopped(error)) report.summary();
    else report.failure(error, stage.children);
    if (options.json) options.say(report.document(error, stage.children));
    if (error === undefined && !options.once) {
      try {
        await stay(script, stage, options, report);
      } catch (cause) {
        error = cause;
        report.failure(cause, stage.children);
      }
    }
  } finally {
    hangUp.dispose();
  }
  if (error === undefined) return 0;
  // What has failed after the document was printed.
  if (options.json && !(error instanceof StepFailed)) options.log.error(messageOf(error));
  return 1;
}

/** Says what a person can try, and waits. */
async function stay(
  script: Script,
  stage: Stage,
  { self, signal, paint }: DemoOptions,
  report: DemoReport,
): Promise<void> {
  const url = `http://127.0.0.1:${script.webPort}/`;
  const [relay, agent] = [stage.state("relay"), stage.state("agent")];
  const tries = [
    [`curl ${url}`, "or open it in a browser"],
    [`${self} status --state ${agent}`, "the tunnel, its path and its flows"],
    [`${self} status --state ${relay} --watch`, "what the relay knows"],
    [`${self} ping --state ${agent} web`, "echoes through the tunnel"],
    [`${self} revoke --state ${relay} alice web`, "and try the first again"],
  ];
  report.say();
  report.say(`All three still run. Try, in another shell (${paint.bold("Ctrl-C")} ends it all):`);
  for (const [command, what] of tries) {
    report.say(`  ${paint.cyan(command!)}`);
    report.say(paint.dim(`      ${what}`));
  }
  await Promise.race([stage.broken, sleep(2 ** 31 - 1, signal)]);
}

/** A closed terminal ends the demo as Ctrl-C does; systems without that signal need nothing. */
function listenForHangUp(): { signal: AbortSignal; dispose(): void } {
  const controller = new AbortController();
  const abort = () => controller.abort();
  if (Deno.build.os !== "windows") Deno.addSignalListener("SIGHUP", abort);
  return {
    signal: controller.signal,
    dispose() {
      if (Deno.build.os !== "windows") Deno.removeSignalListener("SIGHUP", abort);
    },
  };
}
