/**
 * A process that only exists in memory.
 * @module
 */
import type { Io } from "../../src/cli/io.ts";

/** An {@linkcode Io} that remembers what was written. */
export interface FakeIo extends Io {
  readonly written: { out: string; err: string };
}

/** Makes one. */
export function createFakeIo(
  options: { env?: Record<string, string>; stdin?: string; terminal?: boolean; columns?: number } =
    {},
): FakeIo {
  const written = { out: "", err: "" };
  const env = options.env ?? {};
  const terminal = options.terminal ?? false;
  return {
    written,
    out: (text) => void (written.out += text),
    err: (text) => void (written.err += text),
    outIsTerminal: terminal,
    errIsTerminal: terminal,
    inIsTerminal: terminal,
    columns: () => options.columns ?? 80,
    env: (name) => env[name] || undefined,
    envNames: () => Object.keys(env),
    readStdin: () => Promise.resolve(options.stdin ?? ""),
  };
}
