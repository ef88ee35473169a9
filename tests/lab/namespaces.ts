/**
 * Network namespaces: made, configured, cleared of processes and removed.
 * @module
 */
import { encodeUtf8 } from "../../src/core/mod.ts";

/** What a command left behind. */
export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** How to run a command. */
export interface RunOptions {
  /** Given to it as stdin. @default nothing */
  readonly input?: string;
  /** Kills it after that long. @default 60 000 */
  readonly timeoutMs?: number;
  readonly env?: Record<string, string>;
  readonly cwd?: string;
}

/** For every program in a lab: a Deno that asks for news of itself would put packets of its own on the links. */
export const QUIET_ENV: Readonly<Record<string, string>> = { DENO_NO_UPDATE_CHECK: "1" };

/** Runs a command to its end, whatever its exit code. 124 where it was killed for taking too long. */
export async function runCommand(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Finished> {
  const child = new Deno.Command(command, {
    args: [...args],
    stdin: options.input === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
    env: { ...QUIET_ENV, ...options.env },
    ...(options.cwd ? { cwd: options.cwd } : {}),
  }).spawn();
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill("SIGKILL");
  }, options.timeoutMs ?? 60_000);
  try {
    if (options.input !== undefined) {
      const writer = child.stdin.getWriter();
      // A command may end without reading all of its input.
      await writer.write(encodeUtf8(options.input)).catch(() => {});
      await writer.close().catch(() => {});
    }
    const output = await child.output();
    return {
      code: late ? 124 : output.code,
      stdout: new TextDecoder().decode(output.stdout),
      stderr: new TextDecoder().decode(output.stderr),
    };
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Runs a command that has to succeed; answers its stdout.
 *
 * @throws {Error} with what it said
 */
export async function mustRun(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const { code, stdout, stderr } = await runCommand(command, args, options);
  if (code !== 0) {
    const said = (stderr || stdout).trim().slice(0, 2000);
    throw new Error(`Cannot run "${[command, ...args].join(" ")}", exit code ${code}: ${said}`);
  }
  return stdout;
}

/** `ip -batch` in the namespace of the caller. */
export async function ipBatch(lines: readonly string[]): Promise<void> {
  await mustRun("ip", ["-batch", "-"], { input: lines.join("\n") + "\n" });
}

/** What a namespace is to be told in one go. */
export interface NodeSetup {
  /** Below /proc/sys/net, with their values. */
  readonly sysctls?: readonly (readonly [string, string | number])[];
  /** For `ip -batch`. */
  readonly ip?: readonly string[];
  /** For `nft -f`. */
  readonly nft?: string;
}

/** Configures a namespace: kernel settings, then interfaces and routes, then rules; one shell for all of it. */
export async function setUpNode(namespace: string, setup: NodeSetup): Promise<void> {
  const script = ["set -e"];
  for (const [name, value] of setup.sysctls ?? []) {
    script.push(`echo ${value} > /proc/sys/net/${name}`);
  }
  if (setup.ip?.length) script.push("ip -batch - <<'END'", ...setup.ip, "END");
  if (setup.nft) script.push("nft -f - <<'END'", setup.nft, "END");
  await mustRun("ip", ["netns", "exec", namespace, "sh", "-s"], {
    input: script.join("\n") + "\n",
  });
}

/** Ends every process in a namespace: asked first, then made to. */
async function clearNamespace(namespace: string): Promise<void> {
  const pids = async () => {
    const { stdout } = await runCommand("ip", ["netns", "pids", namespace]);
    return stdout.split("\n").filter(Boolean).map(Number);
  };
  const send = (all: number[], signal: Deno.Signal) => {
    for (const pid of all) {
      try {
        Deno.kill(pid, signal);
      } catch {
        // Ended meanwhile.
      }
    }
  };
  let left = await pids();
  if (left.length === 0) return;
  send(left, "SIGTERM");
  send(left, "SIGCONT");
  for (let waited = 0; left.length > 0 && waited < 500; waited += 25) {
    await new Promise((resolve) => setTimeout(resolve, 25));
    left = await pids();
  }
  send(left, "SIGKILL");
}

/** Removes namespaces and all that runs in them. Those that do not exist are passed over. */
export async function removeNamespaces(namespaces: readonly string[]): Promise<void> {
  const existing = new Set(await listNamespaces());
  const ours = namespaces.filter((name) => existing.has(name));
  await Promise.all(ours.map(clearNamespace));
  await Promise.all(ours.map((name) => runCommand("ip", ["netns", "del", name])));
}

/** The names of all namespaces of this machine. */
export async function listNamespaces(): Promise<string[]> {
  const names: string[] = [];
  try {
    for await (const { name } of Deno.readDir("/run/netns")) names.push(name);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return names;
}
