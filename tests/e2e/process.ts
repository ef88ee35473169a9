/**
 * A process under test: started, listened to, and surely ended.
 * @module
 */

/** Enough log to see what went wrong; older lines make room. */
const MAX_LINES_KEPT = 2_000;

/** How long a role may take from its start until it says `ready`, on a busy machine. */
const READY_WITHIN_MS = 60_000;

/** After this long a process that was asked to end is killed. */
const GRACE_MS = 10_000;

/** How long to wait for the last lines of a process that has ended. */
const DRAIN_MS = 500;

/** How to start a {@linkcode TestProcess}. */
export interface ProcessOptions {
  /** What to call it in messages. */
  readonly title: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Only what `env` says, nothing inherited. @default false */
  readonly clearEnv?: boolean;
  readonly cwd?: string;
}

/** A running process; its output is kept, line by line. */
export class TestProcess implements AsyncDisposable {
  readonly title: string;
  readonly #child: Deno.ChildProcess;
  readonly #lines: { readonly source: "out" | "err"; readonly text: string }[] = [];
  readonly #waiting = new Set<() => void>();
  readonly #drained: Promise<unknown>;
  #ended = false;

  constructor(options: ProcessOptions) {
    this.title = options.title;
    this.#child = new Deno.Command(options.command, {
      args: [...options.args],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      env: { ...options.env },
      clearEnv: options.clearEnv ?? false,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    }).spawn();
    this.#drained = Promise.all([
      this.#collect(this.#child.stdout, "out"),
      this.#collect(this.#child.stderr, "err"),
      this.#child.status.then(() => {
        this.#ended = true;
        this.#wake();
      }),
    ]);
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Has it ended, by itself or not? */
  get ended(): boolean {
    return this.#ended;
  }

  /** What it printed so far. */
  output(source?: "out" | "err"): string {
    return this.#lines.filter((line) => source === undefined || line.source === source)
      .map((line) => line.text).join("\n");
  }

  /**
   * The first line, printed already or later, that matches.
   *
   * @throws {Error} with all output, where the process ends or the time is over before
   */
  async line(pattern: RegExp, options: { withinMs?: number } = {}): Promise<string> {
    const until = Date.now() + (options.withinMs ?? READY_WITHIN_MS);
    while (true) {
      const found = this.#lines.find(({ text }) => pattern.test(text));
      if (found !== undefined) return found.text;
      const left = until - Date.now();
      if (this.#ended || left <= 0) {
        const why = this.#ended ? "it ended" : "it took too long";
        throw new Error(
          `Cannot see ${pattern} from ${this.title} as ${why}; it printed:\n${this.output()}`,
        );
      }
      await this.#news(left);
    }
  }

  /** Waits until it says that it can serve. */
  ready(): Promise<string> {
    return this.line(/\bready\b/);
  }

  /** Waits for its end; its exit code (a signal counts as 128 and its number, as in a shell). */
  async status(): Promise<number> {
    const { code } = await this.#child.status;
    // A grandchild may hold the output open for ever: what came until now must do.
    const { promise: patience, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, DRAIN_MS);
    await Promise.race([this.#drained, patience]);
    clearTimeout(timer);
    return code;
  }

  /** Sends a signal; no matter if it has ended already. */
  signal(name: Deno.Signal): void {
    try {
      this.#child.kill(name);
    } catch {
      // It ended in between.
    }
  }

  /** Asks it to end in good order, and kills it where it does not within `graceMs`; its exit code. */
  async stop(name: Deno.Signal = "SIGTERM", graceMs: number = GRACE_MS): Promise<number> {
    this.signal(name);
    const timer = setTimeout(() => this.signal("SIGKILL"), graceMs);
    try {
      return await this.status();
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends it at once, as a crash would. */
  async kill(): Promise<void> {
    this.signal("SIGKILL");
    await this.status();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  async #collect(stream: ReadableStream<Uint8Array<ArrayBuffer>>, source: "out" | "err") {
    const decoder = new TextDecoder();
    let rest = "";
    const add = (text: string) => {
      this.#lines.push({ source, text });
      if (this.#lines.length > MAX_LINES_KEPT) this.#lines.shift();
    };
    for await (const chunk of stream) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop()!;
      lines.forEach(add);
      this.#wake();
    }
    if (rest !== "") add(rest);
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  #news(withinMs: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, withinMs);
      this.#waiting.add(wake);
    });
  }
}

/** What a finished command said. */
export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** How to run a command to its end. */
export interface RunOptions {
  readonly stdin?: string | Uint8Array<ArrayBuffer>;
  readonly env?: Readonly<Record<string, string>>;
  readonly clearEnv?: boolean;
  readonly cwd?: string;
  /** Killed after this long. @default 120_000 */
  readonly withinMs?: number;
}

/** Runs a command to its end. */
export async function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Finished> {
  const child = new Deno.Command(command, {
    args: [...args],
    stdin: options.stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
    env: { ...options.env },
    clearEnv: options.clearEnv ?? false,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  }).spawn();
  const timer = setTimeout(() => child.kill("SIGKILL"), options.withinMs ?? 120_000);
  if (options.stdin !== undefined) {
    const bytes = typeof options.stdin === "string"
      ? new TextEncoder().encode(options.stdin)
      : options.stdin;
    // A command need not read all that it is given.
    new Blob([bytes]).stream().pipeTo(child.stdin).catch(() => {});
  }
  try {
    const { code, stdout, stderr } = await child.output();
    const text = (bytes: Uint8Array<ArrayBuffer>) => new TextDecoder().decode(bytes);
    return { code, stdout: text(stdout), stderr: text(stderr) };
  } finally {
    clearTimeout(timer);
  }
}
