/**
 * The link emulator as a process: compiled when first needed, started, told what links are like.
 * @module
 */
import { createHash } from "node:crypto";
import { concatBytes, encodeUtf8, toHex } from "../../src/core/mod.ts";
import { findCommand, findCompiler } from "./requirements.ts";
import { mustRun } from "./namespaces.ts";
import type { LinkName, LinkOptions, LinkShape } from "./options.ts";

/** Where labs keep what outlives a call: for root only, gone after a reboot. */
export const RUN_FOLDER = "/run/postern-lab";
const SOURCES = ["link_emulator.c", "link_direction.h"];

/** Compiles the emulator unless this very source has been; answers the executable's path. */
export async function compileEmulator(): Promise<string> {
  const folder = new URL(".", import.meta.url);
  const texts = await Promise.all(SOURCES.map((name) => Deno.readFile(new URL(name, folder))));
  const hash = toHex(createHash("sha256").update(concatBytes(...texts)).digest()).slice(0, 16);
  const bin = `${RUN_FOLDER}/bin`;
  const path = `${bin}/link_emulator-${hash}`;
  try {
    await Deno.stat(path);
    return path;
  } catch {
    // Not compiled yet.
  }
  await Deno.mkdir(bin, { recursive: true, mode: 0o700 });
  const part = await Deno.makeTempFile({ dir: bin });
  const compiler = findCompiler();
  if (!compiler) throw new Error("Cannot compile the link emulator as there is no C compiler");
  const source = new URL(SOURCES[0]!, folder).pathname;
  await mustRun(compiler, ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-o", part, source]);
  await Deno.chmod(part, 0o700);
  // Several labs may compile at once; each puts a whole file there.
  await Deno.rename(part, path);
  return path;
}

/** One link for {@linkcode startEmulator}: `NAME:tun|tap:MTU:SITE_NAMESPACE/INTERFACE:NET_NAMESPACE/INTERFACE`. */
export type LinkSpec = string;

/** A running emulator. */
export interface EmulatorProcess {
  readonly pid: number;
  /** Ends it, and with it its interfaces. */
  stop(): Promise<void>;
}

/**
 * Starts the emulator; its interfaces exist when this resolves. It ends with this process unless `detached`.
 *
 * @throws {Error} with what it said, where it could not start
 */
export async function startEmulator(
  socket: string,
  links: readonly LinkSpec[],
  options: { seed?: number; detached?: boolean } = {},
): Promise<EmulatorProcess> {
  const path = await compileEmulator();
  const setsid = options.detached ? findCommand("setsid") : undefined;
  const command = [...(setsid ? [setsid] : []), path, socket, ...links];
  const child = new Deno.Command(command[0]!, {
    args: command.slice(1),
    stdin: options.detached ? "null" : "piped",
    stdout: "piped",
    stderr: options.detached ? "null" : "piped",
    env: options.seed === undefined ? {} : { LINK_EMULATOR_SEED: String(options.seed) },
  }).spawn();
  const reader = child.stdout.getReader();
  const first = await reader.read();
  if (first.done || !new TextDecoder().decode(first.value).startsWith("ready")) {
    await reader.cancel();
    const { code } = await child.status;
    const said = options.detached ? "" : await new Response(child.stderr).text();
    if (!options.detached) await child.stdin.close().catch(() => {});
    throw new Error(`Cannot start the link emulator, exit code ${code}: ${said.trim()}`);
  }
  await reader.cancel();
  if (options.detached) child.unref();
  return {
    pid: child.pid,
    async stop() {
      try {
        child.kill("SIGTERM");
      } catch {
        // Ended already.
      }
      await child.status;
      if (options.detached) return;
      await child.stdin.close().catch(() => {});
      await child.stderr.cancel();
    },
  };
}

const KEYS: readonly (readonly [keyof LinkShape, string])[] = [
  ["delayMs", "delay"],
  ["jitterMs", "jitter"],
  ["lossPercent", "loss"],
  ["lossBurst", "burst"],
  ["duplicatePercent", "duplicate"],
  ["reorderPercent", "reorder"],
  ["reorderByMs", "reorder_by"],
  ["corruptPercent", "corrupt"],
  ["rateMbit", "rate"],
  ["queueKib", "queue"],
];

function shapeWords(shape: LinkShape): string {
  const words = KEYS.filter(([key]) => shape[key] !== undefined)
    .map(([key, word]) => `${word}=${shape[key]}`);
  if (shape.down !== undefined) words.push(`cut=${shape.down ? 1 : 0}`);
  return words.join(" ");
}

/** The control lines that give a link this shape. */
export function shapeLines(link: LinkName, options: LinkOptions): string[] {
  const lines: string[] = [];
  for (
    const [way, shape] of [["both", options], ["out", options.out], ["in", options.in]] as const
  ) {
    const words = shape ? shapeWords(shape) : "";
    if (words !== "") lines.push(`set ${link} ${way} ${words}`);
  }
  return lines;
}

/**
 * Says lines to a running emulator; answers what it said beside `ok`.
 *
 * @throws {Error} where it refused one; those before it hold
 */
export async function tellEmulator(socket: string, lines: readonly string[]): Promise<string[]> {
  if (lines.length === 0) return [];
  const connection = await Deno.connect({ transport: "unix", path: socket });
  const said: string[] = [];
  try {
    const decoder = new TextDecoder();
    const chunk = new Uint8Array(4096);
    let rest = "";
    for (const line of lines) {
      await connection.write(encodeUtf8(line + "\n"));
      for (;;) {
        const end = rest.indexOf("\n");
        if (end < 0) {
          const got = await connection.read(chunk);
          if (got === null) throw new Error(`Cannot tell the link emulator "${line}": it hung up`);
          rest += decoder.decode(chunk.subarray(0, got), { stream: true });
          continue;
        }
        const answer = rest.slice(0, end);
        rest = rest.slice(end + 1);
        if (answer === "ok") break;
        if (answer.startsWith("error ")) {
          throw new Error(`Cannot tell the link emulator "${line}": ${answer.slice(6)}`);
        }
        said.push(answer);
      }
    }
  } finally {
    connection.close();
  }
  return said;
}

/** What one direction of a link has counted. */
export interface LinkCounters {
  readonly received: number;
  readonly sent: number;
  /** By dice or outage. */
  readonly lost: number;
  /** Dropped as a queue was full. */
  readonly overflowed: number;
  readonly duplicated: number;
  readonly reordered: number;
  readonly corrupted: number;
  /** Not taken by the interface at the other end. */
  readonly refused: number;
}

/** Every link's counters, `A out`, `A in`, …. */
export async function readCounters(socket: string): Promise<Map<string, LinkCounters>> {
  const counters = new Map<string, LinkCounters>();
  for (const line of await tellEmulator(socket, ["stats"])) {
    const [name, way, ...pairs] = line.split(" ");
    const values = pairs.map((pair) => {
      const [key, value] = pair.split("=");
      return [key!, Number(value)];
    });
    counters.set(`${name} ${way}`, Object.fromEntries(values));
  }
  return counters;
}
