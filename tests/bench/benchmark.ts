/**
 * What a benchmark is, to the program that runs them all.
 * @module
 */

/** How to run. */
export interface BenchOptions {
  /** Shorter runs and fewer of them: to see that it works, not to quote. */
  readonly quick: boolean;
  /** Tells the person who waits what is being done; goes to stderr. */
  readonly say: (line: string) => void;
  /** Only rows whose name has this in it, where a benchmark knows rows. @default all */
  readonly only?: string;
  /** Runs of a row, where a benchmark counts them. @default its own number */
  readonly runs?: number;
}

/** A cell; null where it was not measured. */
export type Cell = string | number | null;

/** One table of results. */
export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly Cell[])[];
  /** Lines below it: what was skipped and why, what the numbers mean. */
  readonly notes?: readonly string[];
}

/** One benchmark. */
export interface Benchmark {
  readonly name: string;
  /** One line: what it measures. */
  readonly about: string;
  run(options: BenchOptions): Promise<readonly Table[]>;
}

/** The middle of `values`; null where there are none. */
export function median(values: readonly number[]): number | null {
  return percentile(values, 50);
}

/** The value that `percent` of `values` do not exceed (nearest rank); null where there are none. */
export function percentile(values: readonly number[], percent: number): number | null {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * percent / 100) - 1)] ?? null;
}

/** `value` with as many decimals as its size makes worth reading. */
export function round(value: number | null): number | null {
  if (value === null) return null;
  const decimals = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return Number(value.toFixed(decimals));
}

/** A table as text, columns aligned. */
export function formatTable(table: Table): string {
  const text = (cell: Cell) => cell === null ? "-" : String(cell);
  const lines = [[...table.columns], ...table.rows.map((row) => row.map(text))];
  const widths = table.columns.map((_, i) =>
    Math.max(...lines.map((line) => line[i]?.length ?? 0))
  );
  const isNumber = table.columns.map((_, i) =>
    table.rows.some((row) => typeof row[i] === "number")
  );
  const format = (line: readonly string[]) =>
    line.map((cell, i) => isNumber[i] ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!))
      .join("  ").trimEnd();
  const [head, ...rows] = lines.map(format);
  const rule = widths.map((width) => "-".repeat(width)).join("  ");
  const notes = (table.notes ?? []).map((note) => `  ${note}`);
  return [`## ${table.title}`, "", head, rule, ...rows, ...notes].join("\n");
}

/** A table as a program wants it: one object a row. */
export function tableToJson(table: Table): Record<string, unknown> {
  const { title, columns, rows, notes = [] } = table;
  return {
    title,
    rows: rows.map((row) => Object.fromEntries(columns.map((name, i) => [name, row[i] ?? null]))),
    notes,
  };
}
