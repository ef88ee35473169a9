/**
 * How what a person writes after a flag becomes a typed value. Each throws an error that says what would be right.
 * @module
 */
import { type HostPort, parseHostPort } from "../core/address.ts";
import { nearest } from "./suggest.ts";
import type { Reader } from "./flags.ts";

/** Any text. */
export const readText: Reader<string> = (text) => text;

/** A path without NUL, which no system takes. */
export const readPath: Reader<string> = (text) => {
  if (text.includes("\0")) throw new SyntaxError("Cannot use a path with a NUL character in it");
  return text;
};

/** A whole number from `min` to `max`, both included. */
export function readInteger({ min, max }: { min: number; max: number }): Reader<number> {
  return (text) => {
    const number = /^-?\d{1,15}$/.test(text) ? Number(text) : NaN;
    if (!(number >= min && number <= max)) {
      throw new SyntaxError(
        `Cannot use ${JSON.stringify(text)}: expected a whole number from ${min} to ${max}`,
      );
    }
    return number;
  };
}

/** A UDP or TCP port; 0 lets the system choose. */
export const readPort: Reader<number> = readInteger({ min: 0, max: 65535 });

/** One of a few words. */
export function readChoice<const T extends string>(choices: readonly T[]): Reader<T> {
  return (text) => {
    const choice = choices.find((one) => one === text);
    if (choice !== undefined) return choice;
    const near = nearest(text, choices);
    const hint = near === undefined ? "" : ` (did you mean ${near}?)`;
    throw new SyntaxError(
      `Cannot use ${JSON.stringify(text)}: expected ${choices.join(", ")}${hint}`,
    );
  };
}

/** `HOST:PORT`; with `defaultHost` also `PORT` and `:PORT`. */
export function readHostPort(options: { defaultHost?: string } = {}): Reader<HostPort> {
  return (text) => parseHostPort(text, options);
}

const UNITS: Readonly<Record<string, number>> = {
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** A span of time such as `90s`, `15m`, `1h`, `7d` or `1h30m`, in milliseconds; not zero, a year at most. */
export const readDuration: Reader<number> = (text) => {
  let total = 0;
  if (/^(?:\d{1,6}[smhd])+$/.test(text)) {
    for (const [, number, unit] of text.matchAll(/(\d+)([smhd])/g)) {
      total += Number(number) * UNITS[unit!]!;
    }
  }
  if (total <= 0 || total > 366 * UNITS.d!) {
    throw new SyntaxError(
      `Cannot use ${
        JSON.stringify(text)
      }: expected a span such as 90s, 15m, 1h or 7d (a year at most)`,
    );
  }
  return total;
};

/** `true`, `1`, `yes`, `on` and their opposites. */
export const readBoolean: Reader<boolean> = (text) => {
  const word = text.toLowerCase();
  if (["1", "true", "yes", "on"].includes(word)) return true;
  if (["0", "false", "no", "off"].includes(word)) return false;
  throw new SyntaxError(`Cannot use ${JSON.stringify(text)}: expected true or false`);
};
