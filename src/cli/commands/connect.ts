/**
 * `postern connect`
 * @module
 */
import type { LinePipe } from "../../roles/line_pipe.ts";
import { type Name, parseName } from "../../identity/name.ts";
import type { CommonOptions } from "../../roles/options.ts";
import type { ClientStatus } from "../../roles/status.ts";
import { CONNECTION_FLAGS, defineCommand } from "../command.ts";
import { argument } from "../flags.ts";
import { createCliLogger } from "../role.ts";
import { listenForStop } from "../signals.ts";
import { systemClock } from "../system_clock.ts";
import { stateFolderOf } from "../state_choice.ts";

/** Bytes copied at a time: what a pipe holds on Linux. */
const CHUNK_BYTES = 64 * 1024;
/** Milliseconds between looks whether the agent of our own serves already. */
const POLL_INTERVAL = 20;
/** How long an agent that another command has just started may take until it serves, in milliseconds. */
const START_WITHIN_MS = 10_000;
/** Milliseconds between looks whether others still use our agent. */
const LINGER_INTERVAL = 50;

interface Source {
  read(buffer: Uint8Array): Promise<number | null>;
}

async function copy(from: Source, to: (bytes: Uint8Array) => Promise<void>): Promise<void> {
  const buffer = new Uint8Array(CHUNK_BYTES);
  for (let count = await from.read(buffer); count !== null; count = await from.read(buffer)) {
    await to(buffer.subarray(0, count));
  }
}

async function writeOut(bytes: Uint8Array): Promise<void> {
  for (let sent = 0; sent < bytes.length;) sent += await Deno.stdout.write(bytes.subarray(sent));
}

/** Joins stdin and stdout to the pipe until the far end closes its side, or nobody wants it any more. */
async function join(pipe: LinePipe, over: AbortSignal): Promise<void> {
  const hangUp = () => pipe.close();
  over.addEventListener("abort", hangUp, { once: true });
  // Our end of input is a half-close; what the service still says is waited for.
  copy(Deno.stdin, (bytes) => pipe.write(bytes)).then(() => pipe.closeWrite()).catch(() => {});
  try {
    await copy(pipe, writeOut);
  } catch (error) {
    if (!over.aborted) throw error;
  } finally {
    over.removeEventListener("abort", hangUp);
    pipe.close();
  }
}

/** Goes through the agent that runs there; answers whether there is one. */
async function joinRunning(state: string, service: Name, over: AbortSignal): Promise<boolean> {
  const { askForPipe, NotRunning } = await import("../../roles/status_client.ts");
  try {
    await join(await askForPipe(state, { ask: "connect", service }), over);
    return true;
  } catch (error) {
    if (error instanceof NotRunning) return false;
    throw error;
  }
}

/** Others may have come through the agent of ours meanwhile: it stays for as long as they do. */
async function untilAlone(state: string, stop: AbortSignal): Promise<void> {
  const { askStatus } = await import("../../roles/status_client.ts");
  const flows = async () => {
    for await (const status of askStatus(state, { ask: "status" })) {
      const { tunnels } = status as ClientStatus;
      return tunnels.reduce((sum, tunnel) => sum + tunnel.flows, 0);
    }
    return 0;
  };
  while (!stop.aborted && await flows().catch(() => 0) > 0) await pause(LINGER_INTERVAL);
}

function pause(ms: number): Promise<void> {
  return new Promise((go) => setTimeout(go, ms));
}

/** `ssh` ends its ProxyCommand with SIGHUP. */
function listenForHangUp(): { readonly signal: AbortSignal; dispose(): void } {
  const controller = new AbortController();
  if (Deno.build.os === "windows") return { signal: controller.signal, dispose() {} };
  const handler = () => controller.abort();
  Deno.addSignalListener("SIGHUP", handler);
  return {
    signal: controller.signal,
    dispose: () => Deno.removeSignalListener("SIGHUP", handler),
  };
}

/** Runs `join` beside an agent of our own, which ends with it. */
async function withOwnAgent(
  options: CommonOptions,
  join: () => Promise<boolean>,
): Promise<void> {
  const { runAgent } = await import("../../roles/agent.ts");
  const ended = new AbortController();
  const signal = AbortSignal.any([options.signal, ended.signal]);
  const agent = runAgent({ ...options, signal, forwards: [], transient: true });
  let failure: unknown;
  agent.catch((error) => failure = error);
  const until = Date.now() + START_WITHIN_MS;
  try {
    while (!signal.aborted && !await join()) {
      // Another `connect` has started its agent at this very moment: that one serves us both.
      const inUse = (failure as { code?: unknown } | undefined)?.code === "in-use";
      if (failure !== undefined && (!inUse || Date.now() > until)) throw failure;
      await pause(POLL_INTERVAL);
    }
    if (failure === undefined) await untilAlone(options.state, options.signal);
  } finally {
    ended.abort();
    await agent.catch(() => {});
  }
}

/** Joins stdin and stdout to a flow. */
export const connect = defineCommand({
  name: "connect",
  summary: "Join stdin and stdout to a service (for ssh's ProxyCommand)",
  about:
    "Goes through the agent that runs here; where none runs, it is one itself for as long as it lasts. " +
    "No local port is opened. For several connections at a time, run an agent: it serves them all.",
  args: {
    service: argument({
      label: "SERVICE",
      read: (text) => parseName(text, { what: "service name" }),
      help: "the service's name",
    }),
  },
  flags: { ...CONNECTION_FLAGS },
  examples: [
    ["connect web", "then type GET / HTTP/1.0 and two returns"],
    ["help connect", 'for ssh: ssh -o ProxyCommand="postern connect ssh" me@home'],
  ],
  async run(values, { io, self }) {
    const state = stateFolderOf("agent", values.state);
    const { service } = values;
    const hungUp = listenForHangUp();
    const stop = listenForStop();
    const over = AbortSignal.any([hungUp.signal, stop.signal]);
    try {
      if (await joinRunning(state, service, over)) return 0;
      await withOwnAgent({
        state,
        // stdout belongs to the service, and a person who uses ssh wants to hear of trouble only.
        log: createCliLogger(
          values.logLevel === "info" ? { ...values, logLevel: "warn" } : values,
          io,
        ),
        clock: systemClock,
        signal: stop.signal,
        say: () => {},
        self,
        noDirect: values.noDirect,
        noEarlyData: values.noEarlyData,
      }, () => joinRunning(state, service, over));
    } finally {
      stop.dispose();
      hungUp.dispose();
    }
    return 0;
  },
});
