/**
 * `postern connect`
 * @module
 */
import type { LinePipe } from "../../roles/line_pipe.ts";
import { parseName } from "../../identity/name.ts";
import type { CommonOptions } from "../../roles/options.ts";
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

/** Joins stdin and stdout to the pipe until the far end closes its side. */
async function join(pipe: LinePipe): Promise<void> {
  // Our end of input is a half-close; what the service still says is waited for.
  copy(Deno.stdin, (bytes) => pipe.write(bytes)).then(() => pipe.closeWrite()).catch(() => {});
  try {
    await copy(pipe, writeOut);
  } finally {
    pipe.close();
  }
}

/** Joins stdin and stdout to a flow. */
export const connect = defineCommand({
  name: "connect",
  summary: "Join stdin and stdout to a service (for ssh's ProxyCommand)",
  about:
    "Goes through the agent that runs here; where none runs, it is one itself for as long as it lasts. " +
    "No local port is opened.",
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
    const { askForPipe, NotRunning } = await import("../../roles/status_client.ts");
    const state = stateFolderOf("agent", values.state);
    const ask = { ask: "connect", service: values.service } as const;
    try {
      await join(await askForPipe(state, ask));
      return 0;
    } catch (error) {
      if (!(error instanceof NotRunning)) throw error;
    }
    const { runAgent } = await import("../../roles/agent.ts");
    const stop = listenForStop();
    const ended = new AbortController();
    const common: CommonOptions = {
      state,
      // stdout belongs to the service, and a person who uses ssh wants to hear of trouble only.
      log: createCliLogger(
        values.logLevel === "info" ? { ...values, logLevel: "warn" } : values,
        io,
      ),
      clock: systemClock,
      signal: AbortSignal.any([stop.signal, ended.signal]),
      say: () => {},
      self,
      noDirect: values.noDirect,
      noEarlyData: values.noEarlyData,
    };
    const agent = runAgent({ ...common, forwards: [], transient: true });
    let failed = false;
    agent.catch(() => failed = true);
    try {
      while (!failed && !common.signal.aborted) {
        try {
          await join(await askForPipe(state, ask));
          break;
        } catch (error) {
          if (!(error instanceof NotRunning)) throw error;
        }
        await new Promise((go) => setTimeout(go, POLL_INTERVAL));
      }
    } finally {
      ended.abort();
      stop.dispose();
      await agent;
    }
    return 0;
  },
});
