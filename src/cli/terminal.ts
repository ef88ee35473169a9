/**
 * Text for terminals: colours only where they are wanted, and nothing from outside that could move the cursor.
 * @module
 */

const SGR = {
  bold: 1,
  dim: 2,
  red: 31,
  green: 32,
  yellow: 33,
  blue: 34,
  cyan: 36,
} as const;

/** Paints text; does nothing where colours are off. */
export type Paint = Readonly<Record<keyof typeof SGR, (text: string) => string>>;

/** A {@linkcode Paint} that paints or does not. */
export function createPaint(on: boolean): Paint {
  const entries = Object.entries(SGR).map(([name, code]) => [
    name,
    on ? (text: string) => `\x1b[${code}m${text}\x1b[0m` : (text: string) => text,
  ]);
  return Object.fromEntries(entries);
}

/** Whether to colour: a terminal, and nobody said no (https://no-color.org, TERM=dumb). */
export function wantsColour(
  isTerminal: boolean,
  env: (name: string) => string | undefined,
): boolean {
  return isTerminal && !env("NO_COLOR") && env("TERM") !== "dumb";
}

/** Control characters, and those invisible ones that turn text around or hide it. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** The same text with control and invisible characters written out: a name from the network cannot drive a terminal. */
export function escapeControl(text: string): string {
  return text.replace(UNSAFE, (character) => {
    if (character === "\n") return "\\n";
    if (character === "\r") return "\\r";
    if (character === "\t") return "\\t";
    return `\\u{${character.codePointAt(0)!.toString(16)}}`;
  });
}

/** {@linkcode escapeControl}, line by line: line breaks stay. */
export function escapeLines(text: string): string {
  return text.split("\n").map(escapeControl).join("\n");
}
