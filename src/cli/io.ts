/**
 * What a command sees of the world outside, so that tests can bring their own.
 * @module
 */

/** The process around a command. */
export interface Io {
  /** Answers, to stdout. */
  out(text: string): void;
  /** Everything else, to stderr. */
  err(text: string): void;
  readonly outIsTerminal: boolean;
  readonly errIsTerminal: boolean;
  readonly inIsTerminal: boolean;
  /** Width of the terminal in characters; 80 where there is none. */
  columns(): number;
  /** An environment variable; set but empty counts as not set. */
  env(name: string): string | undefined;
  /** Names of all environment variables. */
  envNames(): string[];
  /** All of stdin as text, `limit` bytes at most. */
  readStdin(limit: number): Promise<string>;
}

/** The reader of a pipe went away (`postern status | head -1`): nothing is wrong, nobody listens. */
export class OutputClosed extends Error {
  override readonly name = "OutputClosed";
}

const encoder = new TextEncoder();

function writeAll(stream: { writeSync(bytes: Uint8Array): number }, text: string): void {
  let bytes = encoder.encode(text);
  while (bytes.length > 0) bytes = bytes.subarray(stream.writeSync(bytes));
}

/** The real process. */
export function systemIo(): Io {
  return {
    out(text) {
      try {
        writeAll(Deno.stdout, text);
      } catch (error) {
        if (error instanceof Deno.errors.BrokenPipe) throw new OutputClosed();
        throw error;
      }
    },
    err(text) {
      // A log that nobody can read is no reason to stop serving.
      try {
        writeAll(Deno.stderr, text);
      } catch { /* see above */ }
    },
    outIsTerminal: Deno.stdout.isTerminal(),
    errIsTerminal: Deno.stderr.isTerminal(),
    inIsTerminal: Deno.stdin.isTerminal(),
    columns() {
      try {
        return Deno.consoleSize().columns || 80;
      } catch {
        return 80;
      }
    },
    env: (name) => Deno.env.get(name) || undefined,
    envNames: () => Object.keys(Deno.env.toObject()),
    async readStdin(limit) {
      const decoder = new TextDecoder();
      let text = "";
      let size = 0;
      for await (const chunk of Deno.stdin.readable) {
        size += chunk.length;
        if (size > limit) throw new RangeError(`Cannot read stdin: more than ${limit} bytes`);
        text += decoder.decode(chunk, { stream: true });
      }
      return text + decoder.decode();
    },
  };
}
