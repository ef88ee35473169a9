/**
 * How log lines look: for people, or one JSON object a line for programs.
 * @module
 */
import type { LogFields, LogLevel, LogSink } from "../core/log.ts";
import { createPaint, escapeControl, type Paint } from "./terminal.ts";

/** A log line may grow this long (in UTF-16 units) and no longer: one peer's nonsense must not fill a disk. */
const MAX_VALUE_LENGTH = 2048;

function cut(text: string): string {
  return text.length <= MAX_VALUE_LENGTH ? text : `${text.slice(0, MAX_VALUE_LENGTH)}…`;
}

function pad(number: number, length = 2): string {
  return String(number).padStart(length, "0");
}

/** `12:34:56.789`, in local time. */
export function formatTime(unix: number): string {
  const date = new Date(unix);
  const [h, m, s] = [date.getHours(), date.getMinutes(), date.getSeconds()];
  return `${pad(h)}:${pad(m)}:${pad(s)}.${pad(date.getMilliseconds(), 3)}`;
}

function formatValue(value: string | number | boolean | null): string {
  if (typeof value !== "string") return String(value);
  const safe = escapeControl(cut(value));
  return safe === "" || /[\s"=]/.test(safe) ? `"${safe.replaceAll('"', '\\"')}"` : safe;
}

const LEVEL_PAINT: Readonly<Record<LogLevel, keyof Paint>> = {
  debug: "dim",
  info: "green",
  warn: "yellow",
  error: "red",
};

/** `12:34:56.789 info  connected to relay  relay=198.51.100.10:4433 rtt=41ms`, without the line break. */
export function formatTextLine(
  line: { unix: number; level: LogLevel; message: string; fields: LogFields },
  paint: Paint,
): string {
  const parts: string[] = [];
  for (const [name, value] of Object.entries(line.fields)) {
    if (value === undefined) continue;
    parts.push(`${paint.dim(`${escapeControl(name)}=`)}${formatValue(value)}`);
  }
  const level = paint[LEVEL_PAINT[line.level]](line.level.padEnd(5));
  const message = escapeControl(cut(line.message));
  const fields = parts.length === 0 ? "" : `  ${parts.join(" ")}`;
  return `${paint.dim(formatTime(line.unix))} ${level} ${message}${fields}`;
}

/** `{"time":"2026-01-01T00:00:00.000Z","level":"info","message":"…", …fields}`, without the line break. */
export function formatJsonLine(
  line: { unix: number; level: LogLevel; message: string; fields: LogFields },
): string {
  const object: Record<string, unknown> = {
    time: new Date(line.unix).toISOString(),
    level: line.level,
    message: cut(line.message),
  };
  for (const [name, value] of Object.entries(line.fields)) {
    if (value === undefined) continue;
    const safeName = name in object ? `${name}_` : name;
    object[safeName] = typeof value === "string" ? cut(value) : value;
  }
  return JSON.stringify(object);
}

/** A sink that writes lines in the given format. */
export function createLogSink(options: {
  format: "text" | "json";
  colour: boolean;
  write: (text: string) => void;
  unix: () => number;
}): LogSink {
  const paint = createPaint(options.colour);
  return (level, message, fields) => {
    const line = { unix: options.unix(), level, message, fields };
    const text = options.format === "json" ? formatJsonLine(line) : formatTextLine(line, paint);
    options.write(`${text}\n`);
  };
}
