/**
 * A progress bar on a terminal; plain lines, one each quarter, elsewhere.
 * @module
 */
import type { Millis } from "../core/clock.ts";
import type { ProgressReport } from "../roles/options.ts";
import { formatBytes } from "./format.ts";
import type { Paint } from "./terminal.ts";

/** Ten pictures a second look smooth; more only cost time. */
const REDRAW_EVERY: Millis = 100;
/** Rates before this are noise. */
const MIN_RATE_TIME: Millis = 50;

/** What a progress bar needs. */
export interface ProgressOptions {
  readonly label: string;
  /** Bytes. */
  readonly total: number;
  readonly isTerminal: boolean;
  readonly columns: number;
  readonly paint: Paint;
  readonly write: (text: string) => void;
  readonly now: () => Millis;
}

/** Starts a progress bar at zero. */
export function createProgress(options: ProgressOptions): ProgressReport {
  const { label, total, paint, write, now } = options;
  const started = now();
  let drawn = -Infinity;
  let quarter = 0;
  let done = 0;
  const rate = () => {
    const elapsed = now() - started;
    return elapsed < MIN_RATE_TIME ? "" : `  ${formatBytes(done / elapsed * 1000)}/s`;
  };
  const figures = () => `${formatBytes(done)} of ${formatBytes(total)}${rate()}`;
  const share = () => total <= 0 ? 1 : Math.min(1, done / total);
  const draw = () => {
    drawn = now();
    const percent = `${Math.floor(share() * 100)}%`.padStart(4);
    const right = `${percent}  ${figures()}`;
    const room = Math.max(5, Math.min(40, options.columns - label.length - right.length - 6));
    const full = Math.round(share() * room);
    const bar = paint.green("█".repeat(full)) + paint.dim("░".repeat(room - full));
    write(`\r\x1b[K  ${label} ${bar} ${right}`);
  };
  return {
    update(bytes) {
      done = bytes;
      if (options.isTerminal) {
        if (now() - drawn >= REDRAW_EVERY) draw();
        return;
      }
      const reached = Math.floor(share() * 4);
      if (reached > quarter && reached < 4) write(`  ${label} ${reached * 25}%  ${figures()}\n`);
      quarter = Math.max(quarter, reached);
    },
    finish(note) {
      if (options.isTerminal) write("\r\x1b[K");
      write(`  ${label} ${figures()}${note === undefined ? "" : `  ${note}`}\n`);
    },
  };
}
