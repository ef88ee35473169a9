/**
 * `--help`, rendered from the same tables that parsing uses.
 * @module
 */
import { type AnyCommand, COMMON_FLAGS } from "./command.ts";
import { type Argument, environmentOf, type Flags, kebabOf } from "./flags.ts";
import type { Paint } from "./terminal.ts";

const MIN_TEXT_WIDTH = 24;

/** Breaks text into lines of at most `width` characters, at spaces. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}

/** Two columns: names as wide as they are, texts wrapped beside them. */
export function columnsOf(
  rows: readonly (readonly [name: string, text: string])[],
  options: { width: number; paint: Paint; indent?: number },
): string[] {
  const indent = " ".repeat(options.indent ?? 2);
  const nameWidth = Math.max(0, ...rows.map(([name]) => name.length)) + 2;
  const textWidth = Math.max(MIN_TEXT_WIDTH, options.width - nameWidth - indent.length);
  return rows.flatMap(([name, text]) =>
    wrap(text, textWidth).map((line, i) => {
      const left = (i === 0 ? name : "").padEnd(nameWidth);
      return `${indent}${i === 0 ? options.paint.cyan(left) : left}${line}`.trimEnd();
    })
  );
}

function flagRow(key: string, flag: Flags[string]): [string, string] {
  const name = `--${kebabOf(key)}`;
  const short = flag.short === undefined ? "" : `-${flag.short}, `;
  const value = flag.kind === "switch" ? "" : ` ${flag.value}`;
  const notes = [
    flag.kind === "list" ? "may repeat" : "",
    flag.shown === undefined ? "" : `default: ${flag.shown}`,
    flag.argvOnly ? "" : environmentOf(key),
  ].filter((note) => note !== "");
  return [`${short}${name}${value}`, `${flag.help}${notes.length ? ` [${notes.join("; ")}]` : ""}`];
}

function argumentText({ kind, label }: Argument<unknown>): string {
  if (kind === "one") return label;
  if (kind === "optional") return `[${label}]`;
  return kind === "rest" ? `${label}...` : `[${label}...]`;
}

/** Everything about one command, ending in a line break. */
export function renderCommandHelp(
  command: AnyCommand,
  options: { width: number; paint: Paint },
): string {
  const { paint } = options;
  const usage = command.usage ??
    [[...Object.values(command.args).map(argumentText), "[FLAGS]"].join(" ")];
  const lines = [
    `${command.summary}.`,
    "",
    paint.bold("Usage"),
    ...usage.map((line) => `  postern ${command.name} ${line}`.trimEnd()),
  ];
  for (const paragraph of command.about?.split("\n\n") ?? []) {
    lines.push("", ...wrap(paragraph.replaceAll("\n", " "), options.width));
  }
  const args = Object.values(command.args).map((argument) =>
    [argument.label, argument.help] as const
  );
  if (args.length > 0) lines.push("", paint.bold("Arguments"), ...columnsOf(args, options));
  const own = Object.entries(command.flags).map(([key, flag]) => flagRow(key, flag));
  if (own.length > 0) lines.push("", paint.bold("Flags"), ...columnsOf(own, options));
  const common = Object.entries(COMMON_FLAGS).map(([key, flag]) => flagRow(key, flag));
  lines.push("", paint.bold("Flags of every command"), ...columnsOf(common, options));
  lines.push("", paint.bold(command.examples.length === 1 ? "Example" : "Examples"));
  for (const [line, what] of command.examples) {
    lines.push(`  ${paint.dim(`# ${what}`)}`, `  postern ${line}`);
  }
  return `${lines.join("\n")}\n`;
}

/** The short way in: three steps, then the commands. */
export function renderOverview(
  commands: readonly { readonly name: string; readonly summary: string }[],
  options: { width: number; paint: Paint; version: string },
): string {
  const { paint } = options;
  const step = (line: string, what: string) => `  ${line.padEnd(62)}${paint.dim(`# ${what}`)}`;
  return [
    `Postern ${options.version}: a private way to one service behind a NAT, through a relay that reads nothing.`,
    "",
    paint.bold("Three steps"),
    `  1. On a machine that others can reach:`,
    step("   postern relay --public relay.example.com:4433", "UDP and TCP 4433"),
    step("   postern invite connector home --service web > home.invite", "copy to 2"),
    step("   postern invite agent alice --allow web > alice.invite", "copy to 3"),
    `  2. Beside the service:`,
    `     postern connector --invite-file home.invite web=127.0.0.1:8080`,
    `  3. On your laptop:`,
    `     postern agent --invite-file alice.invite web=9000`,
    `     curl http://127.0.0.1:9000/`,
    "",
    paint.bold("Commands"),
    ...columnsOf(commands.map(({ name, summary }) => [name, summary] as const), options),
    "",
    `Try it on this machine alone: postern demo. More about a command: postern help COMMAND.`,
    "",
  ].join("\n");
}
