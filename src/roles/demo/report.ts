/**
 * What the demo tells: a line for each step as it happens, a table at the end, and the same as one JSON document.
 * @module
 */
import { messageOf, type Millis } from "../../core/mod.ts";
import { VERSION } from "../../core/version.ts";
import type { DemoOptions } from "../options.ts";
import type { EarlyDataState } from "../status.ts";
import { type Child, ChildEnded } from "./child.ts";

/** Wide enough for the longest title. */
const TITLE_WIDTH = 34;
/** Lines of each child's log that a failure shows. */
const LOG_LINES = 15;

/** What a step found out. */
export interface StepResult {
  /** In a few words, for the table. */
  readonly result: string;
  /** More, in sentences, shown as it happens. */
  readonly detail?: string | readonly string[];
}

/** A finished step, as the JSON document has it. */
export interface DemoStep {
  /** For programs: `first-request`. */
  readonly name: string;
  /** For people. */
  readonly title: string;
  readonly ms: Millis;
  readonly ok: boolean;
  /** What came out, or why it failed. */
  readonly result: string;
}

/** What was measured; null: not, or not yet. Fields are added, never renamed or removed. */
export interface DemoFigures {
  /** From the first byte of the first request to the first byte of its answer. */
  firstRequestMs: Millis | null;
  /** The same for later requests, each on a connection of its own: the middle one of many. */
  requestMs: Millis | null;
  transfers: {
    path: "direct" | "relayed" | null;
    bytes: number;
    sha256: string;
    downMbps: number;
    upMbps: number;
  }[];
  /** From the command's start until the live connection ended. */
  revokeMs: Millis | null;
  /** From the start of the returning agent's process to its first answer. */
  returnMs: Millis | null;
  /** Of the agent's return. */
  earlyData: { relay: EarlyDataState | null; tunnel: EarlyDataState | null };
  /** The path in use at the end, and how it came to be. */
  path: "direct" | "relayed" | null;
  directAfterMs: Millis | null;
  whyRelayed: string | null;
  relay: {
    forwardedDatagrams: number | null;
    forwardedBytes: number | null;
    /** Was the page's secret in the relay's memory? null: this system does not let us look. */
    secretInMemory: boolean | null;
  };
}

/** The step that failed. */
export class StepFailed extends Error {
  override readonly name = "StepFailed";
}

/** See the module's head. */
export class DemoReport {
  readonly steps: DemoStep[] = [];
  readonly figures: DemoFigures = {
    firstRequestMs: null,
    requestMs: null,
    transfers: [],
    revokeMs: null,
    returnMs: null,
    path: null,
    directAfterMs: null,
    whyRelayed: null,
    earlyData: { relay: null, tunnel: null },
    relay: { forwardedDatagrams: null, forwardedBytes: null, secretInMemory: null },
  };
  readonly #options: DemoOptions;
  readonly #started = performance.now();

  constructor(options: DemoOptions) {
    this.#options = options;
  }

  /** A line for people; programs do not get it. */
  say(line = ""): void {
    if (!this.#options.json) this.#options.say(line);
  }

  /**
   * Runs a step and shows how it went.
   *
   * @throws {StepFailed} where it fails; its cause says why
   */
  async step(name: string, title: string, work: () => Promise<StepResult>): Promise<void> {
    const { paint } = this.#options;
    const started = performance.now();
    const end = (ok: boolean, result: string) => {
      const ms = round(performance.now() - started);
      this.steps.push({ name, title, ms, ok, result });
      this.#options.working(undefined);
      const mark = ok ? paint.green("✓") : paint.red("✗");
      const time = paint.dim(formatMs(ms).padStart(9));
      this.say(`${mark} ${paint.bold(title.padEnd(TITLE_WIDTH))}${time}  ${result}`);
    };
    if (!this.#options.json) this.#options.working(title);
    try {
      const { result, detail = [] } = await work();
      end(true, result);
      for (const line of [detail].flat()) this.say(paint.dim(`    ${line}`));
    } catch (cause) {
      end(false, messageOf(cause));
      throw new StepFailed(`Cannot finish step "${title}": ${messageOf(cause)}`, { cause });
    }
  }

  /** Says which step failed, why, and what the processes said last. */
  failure(error: unknown, children: readonly Child[]): void {
    const { paint } = this.#options;
    const cause = error instanceof StepFailed ? error.cause : error;
    this.say();
    this.say(paint.red(messageOf(error)));
    for (const child of blamed(cause, children)) {
      const state = child.code === undefined ? "still runs" : `exit code ${child.code}`;
      this.say(`  ${child.title} (${state}) said last:`);
      for (const line of child.lastWords(LOG_LINES)) this.say(paint.dim(`    ${line}`));
    }
  }

  /** The table at the end. */
  summary(): void {
    const { paint } = this.#options;
    const total = performance.now() - this.#started;
    this.say();
    this.say(paint.bold(`${"  step".padEnd(TITLE_WIDTH + 2)}${"time".padStart(9)}  result`));
    for (const { title, ms, ok, result } of this.steps) {
      const line = `${title.padEnd(TITLE_WIDTH)}${formatMs(ms).padStart(9)}  ${result}`;
      this.say(`  ${ok ? line : paint.red(line)}`);
    }
    const done = this.steps.filter(({ ok }) => ok).length;
    const verdict = `${done} of ${this.steps.length} steps done in ${(total / 1000).toFixed(1)} s`;
    this.say(`  ${done === this.steps.length ? paint.green(verdict) : paint.red(verdict)}`);
  }

  /** The one JSON document. */
  document(error: unknown, children: readonly Child[]): string {
    const failed = error !== undefined;
    const cause = error instanceof StepFailed ? error.cause : error;
    return JSON.stringify({
      ok: !failed,
      version: VERSION,
      totalMs: round(performance.now() - this.#started),
      steps: this.steps,
      figures: this.figures,
      error: failed ? messageOf(error) : null,
      logs: failed
        ? blamed(cause, children).map((child) => ({
          process: child.title,
          lines: child.lastWords(LOG_LINES),
        }))
        : [],
    });
  }
}

/** Whose words tell why: the process that ended, else all. */
function blamed(cause: unknown, children: readonly Child[]): readonly Child[] {
  return cause instanceof ChildEnded ? [cause.child] : children;
}

/** `0.42 ms`, `3.1 ms`, `412 ms`: steps are compared by eye, so all in one unit. */
export function formatMs(ms: Millis): string {
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

/** To a hundredth. */
export function round(value: number): number {
  return Math.round(value * 100) / 100;
}
