/**
 * A process of the demo: started, listened to, and surely ended.
 * @module
 */
import { childEnvironment, type SelfCommand } from "./self_command.ts";

/** Lines kept of each child, to show what it said last; older ones make room. */
const MAX_LINES = 500;

/** How long a child that was asked to end may take before it is killed, in milliseconds. */
const GRACE_MS = 3_000;

/** How long the last output of a child that has ended may take to arrive, in milliseconds. */
const DRAIN_MS = 300;

/** A line of a child's output; log lines are read apart. */
export interface ChildLine {
  /** As it was written. */
  readonly text: string;
  /** What a log line says, with its reason where it has one; other lines as they are. */
  readonly words: string;
}

/** A running process of this program. */
export class Child {
  readonly title: string;
  readonly #process: Deno.ChildProcess;
  readonly #lines: ChildLine[] = [];
  readonly #waiting = new Set<() => void>();
  readonly #over: Promise<unknown>;
  #code: number | undefined;

  constructor(title: string, self: SelfCommand, args: readonly string[]) {
    this.title = title;
    this.#process = new Deno.Command(self.program, {
      args: [...self.args, ...args],
      // Never written to: its end tells the child that this process is gone, even where it was killed.
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      clearEnv: true,
      env: childEnvironment(),
    }).spawn();
    const output = Promise.all([
      this.#collect(this.#process.stdout),
      this.#collect(this.#process.stderr),
    ]);
    this.#over = this.#process.status.then(async ({ code }) => {
      // Somebody else may hold the output open: what came until then must do.
      let timer: ReturnType<typeof setTimeout> | undefined;
      await Promise.race([output, new Promise((done) => timer = setTimeout(done, DRAIN_MS))]);
      clearTimeout(timer);
      this.#code = code;
      this.#wake();
    });
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Its exit code; `undefined` while it runs. */
  get code(): number | undefined {
    return this.#code;
  }

  /** Resolves when it has ended and all that it said is here. */
  async ended(): Promise<number> {
    await this.#over;
    return this.#code!;
  }

  /** How many lines it has said so far: a place to look for later ones from. */
  get said(): number {
    return this.#lines.length;
  }

  /** What it said last, for people. */
  lastWords(count: number): string[] {
    return this.#lines.slice(-count).map((line) => line.words);
  }

  /** What it said on stdout, and everything else. */
  get text(): string {
    return this.#lines.map((line) => line.text).join("\n");
  }

  /**
   * The first line that matches, said already or later.
   *
   * @throws {Error} where it ends, or the time is over, before
   */
  async line(pattern: RegExp, options: { withinMs: number; from?: number }): Promise<ChildLine> {
    const until = performance.now() + options.withinMs;
    for (;;) {
      const found = this.#lines.slice(options.from ?? 0).find(({ words }) => pattern.test(words));
      if (found !== undefined) return found;
      if (this.#code !== undefined) {
        throw new ChildEnded(this, `${this.title} ended with exit code ${this.#code}`);
      }
      const left = until - performance.now();
      if (left <= 0) {
        const seconds = Math.round(options.withinMs / 1000);
        throw new Error(`${this.title} did not say ${pattern} within ${seconds} s`);
      }
      await this.#news(left);
    }
  }

  /** Asks it to end in good order; kills it where it does not. */
  async stop(): Promise<number> {
    this.#signal("SIGTERM");
    const timer = setTimeout(() => this.kill(), GRACE_MS);
    try {
      return await this.ended();
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends it at once. */
  kill(): void {
    this.#signal("SIGKILL");
  }

  #signal(name: Deno.Signal): void {
    try {
      this.#process.kill(name);
    } catch { /* it has ended already */ }
  }

  async #collect(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of stream) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop()!;
      for (const line of lines) this.#add(line);
      this.#wake();
    }
    if (rest !== "") this.#add(rest);
  }

  #add(text: string): void {
    this.#lines.push({ text, words: wordsOf(text) });
    if (this.#lines.length > MAX_LINES) this.#lines.shift();
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
  }

  async #news(withinMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.add(resolve);
    const timer = setTimeout(resolve, withinMs);
    await promise;
    clearTimeout(timer);
    this.#waiting.delete(resolve);
  }
}

/** A child ended that should not have. */
export class ChildEnded extends Error {
  override readonly name = "ChildEnded";
  readonly child: Child;
  constructor(child: Child, message: string) {
    super(message);
    this.child = child;
  }
}

/** The message and reason of a JSON log line; any other line as it is. Control characters never come through. */
function wordsOf(text: string): string {
  let words = text;
  if (text.startsWith("{")) {
    try {
      const { level, message, reason } = JSON.parse(text) as Record<string, unknown>;
      words = [level, message, reason].filter((part) => typeof part === "string").join(": ");
    } catch { /* no log line */ }
  }
  return words.replace(/\p{Cc}/gu, " ").trimEnd();
}
