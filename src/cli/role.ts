/**
 * What the three role commands share: log, clock, signals, state folder, and one way to end.
 * @module
 */
import { createLogger, type Logger } from "../core/log.ts";
import type { HostPort } from "../core/address.ts";
import { STOP_WITH_STDIN_VARIABLE } from "../core/variables.ts";
import type { CommonOptions } from "../roles/options.ts";
import type { CommonValues, Context } from "./command.ts";
import { type Flags, switchFlag, valueFlag } from "./flags.ts";
import { type Io, OutputClosed } from "./io.ts";
import { createLogSink } from "./log_sink.ts";
import { readHostPort, readPath, readPort } from "./readers.ts";
import { beginAnew, canBeginAnew, Renewal, RENEWAL_VARIABLE, renewalLimits } from "./renewal.ts";
import { listenForStop } from "./signals.ts";
import { type RoleName, stateFolderOf } from "./state_choice.ts";
import { systemClock } from "./system_clock.ts";
import { wantsColour } from "./terminal.ts";

/** Metrics and health, for every role. */
export const ADMIN_FLAG = valueFlag<HostPort>({
  value: "[HOST:]PORT",
  read: readHostPort({ defaultHost: "127.0.0.1" }),
  help:
    "Serve /metrics (Prometheus), /healthz (it lives) and /readyz (it can serve) over HTTP there; no password",
});

/** Flags of connector and agent. */
export const CLIENT_FLAGS = {
  inviteFile: valueFlag({
    value: "F",
    read: readPath,
    path: true,
    help:
      "Join with the invite in file F, or on stdin with -; needed on the first start only (or put it into POSTERN_INVITE)",
  }),
  relayPort: valueFlag({
    value: "PORT",
    read: readPort,
    help: "Local UDP port for the relay",
    shown: "0, any",
  }),
  p2pPort: valueFlag({
    value: "PORT",
    read: readPort,
    help: "Local UDP port for direct paths",
    shown: "0, any",
  }),
  noPortGuessing: switchFlag(
    "Do not try many ports of a NAT that maps each destination to another one",
  ),
  admin: ADMIN_FLAG,
} as const satisfies Flags;

/** For tests that cannot wait for three minutes: silence after which a tunnel is given up, in milliseconds. */
const IDLE_VARIABLE = "POSTERN_TUNNEL_IDLE_MS";

/** A logger to stderr as the common flags want it. */
export function createCliLogger(
  values: Pick<CommonValues, "logLevel" | "logFormat">,
  io: Io,
): Logger {
  const sink = createLogSink({
    format: values.logFormat,
    colour: wantsColour(io.errIsTerminal, io.env),
    write: io.err,
    unix: systemClock.unix,
  });
  return createLogger(sink, { level: values.logLevel });
}

/** Values that {@linkcode runRole} reads. */
interface RoleValues extends CommonValues {
  readonly noDirect: boolean;
  readonly noEarlyData: boolean;
}

/**
 * Runs a role until it ends or the person stops it; answers the exit code.
 *
 * @param start gets the options that all roles share, and resolves when the role has ended in good order
 */
export async function runRole(
  role: RoleName,
  values: RoleValues,
  { io, self }: Context,
  start: (common: CommonOptions) => Promise<void>,
): Promise<number> {
  const log = createCliLogger(values, io);
  // A mistake of ours in one connection must not end all the others: it is logged, and the role goes on.
  const onFault = (event: PromiseRejectionEvent | ErrorEvent) => {
    event.preventDefault();
    const fault = event instanceof ErrorEvent ? event.error : event.reason;
    log.error("internal fault", { reason: fault instanceof Error ? fault.stack : String(fault) });
  };
  globalThis.addEventListener("unhandledrejection", onFault);
  globalThis.addEventListener("error", onFault);
  const tunnelIdleMs = Number(io.env(IDLE_VARIABLE) ?? 0);
  const stop = listenForStop((name) => {
    log.info("stopping", { signal: name, hint: "again to stop at once" });
  }, { withStdin: io.env(STOP_WITH_STDIN_VARIABLE) !== undefined });
  const renewal = new Renewal({
    limits: renewalLimits(io.env(RENEWAL_VARIABLE)),
    log,
    end: () => stop.stop("It has grown"),
  });
  try {
    await start({
      state: await stateFolderOf(role, values.state),
      log,
      clock: systemClock,
      signal: stop.signal,
      say(line) {
        try {
          io.out(`${line}\n`);
        } catch (error) {
          // `postern relay | head -1`: a role that nobody listens to serves all the same.
          if (!(error instanceof OutputClosed)) throw error;
        }
      },
      self,
      ...(canBeginAnew() ? { watchGrowth: (flows) => renewal.watch(flows) } : {}),
      noDirect: values.noDirect,
      noEarlyData: values.noEarlyData,
      ...(tunnelIdleMs > 0 ? { tunnelIdleMs } : {}),
    });
  } catch (error) {
    // What it was waiting for when the person stopped it (a relay that is not there) is no failure.
    if (error !== stop.signal.reason || !stop.signal.aborted) throw error;
  } finally {
    renewal.stop();
    globalThis.removeEventListener("unhandledrejection", onFault);
    globalThis.removeEventListener("error", onFault);
    stop.dispose();
  }
  if (renewal.due) beginAnew();
  return 0;
}

/** Drops what is `undefined`: the options of roles tell an absent field from an undefined one. */
export function definedOnly<T extends object>(
  fields: T,
):
  & { [K in keyof T as undefined extends T[K] ? never : K]: T[K] }
  & {
    [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
  } {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== undefined),
  ) as never;
}
