/**
 * What a command is, and the flags that every command has.
 * @module
 */
import type { LogLevel } from "../core/log.ts";
import {
  type Arguments,
  defaultedFlag,
  type Flags,
  switchFlag,
  valueFlag,
  type ValuesOf,
} from "./flags.ts";
import { readChoice, readPath } from "./readers.ts";
import type { Io } from "./io.ts";

/** Flags of every command. */
export const COMMON_FLAGS = {
  state: valueFlag({
    value: "DIR",
    read: readPath,
    path: true,
    help: "Keep keys and settings in DIR",
    shown: "the platform's state folder",
  }),
  config: valueFlag({
    value: "FILE",
    read: readPath,
    help: "Read flags and arguments from a JSON file; the command line and environment win",
  }),
  logLevel: defaultedFlag({
    value: "LEVEL",
    read: readChoice<LogLevel>(["debug", "info", "warn", "error"]),
    shown: "info",
    help: "Log from this level up: debug, info, warn, error",
  }),
  logFormat: defaultedFlag({
    value: "FORMAT",
    read: readChoice(["text", "json"]),
    shown: "text",
    help: "Log for people (text) or for programs (json: one object a line)",
  }),
  help: switchFlag("Show this help", { short: "h", argvOnly: true }),
  version: switchFlag("Show the version", { short: "V", argvOnly: true }),
} as const satisfies Flags;

/** Flags of everything that opens connections. */
export const CONNECTION_FLAGS = {
  noDirect: switchFlag("Use the relayed path only"),
  noEarlyData: switchFlag("Send nothing before the handshake is done (no 0-RTT)"),
} as const satisfies Flags;

/** Values of the common flags. */
export type CommonValues = ValuesOf<typeof COMMON_FLAGS>;

/** What a command finds around it. */
export interface Context {
  readonly io: Io;
  /** How a person starts this program: `postern`, or `deno run -A main.ts` from a checkout. */
  readonly self: string;
}

/** One command: its table, and what it does. */
export interface Command<F extends Flags = Flags, A extends Arguments = Arguments> {
  readonly name: string;
  /** One line for the overview; no final period. */
  readonly summary: string;
  /** More for `--help`, in paragraphs. */
  readonly about?: string;
  /** Its own flags; {@linkcode COMMON_FLAGS} come on top. */
  readonly flags: F;
  readonly args: A;
  /** Arguments as help shows them, where the table alone would say too little. */
  readonly usage?: readonly string[];
  /** Commands to copy, without the program's name, and what each does. */
  readonly examples: readonly (readonly [line: string, what: string])[];
  /** Does it; answers the exit code: 0 done, 1 failed. Throws UserError (1) or UsageError (2). */
  run(values: ValuesOf<F, A> & CommonValues, context: Context): Promise<number>;
}

/** A command whose table is read at run time only. */
export interface AnyCommand extends Omit<Command, "run"> {
  run(values: Readonly<Record<string, unknown>>, context: Context): Promise<number>;
}

/** States a command; the types of its values follow from its tables. */
export function defineCommand<const F extends Flags, const A extends Arguments>(
  command: Command<F, A>,
): Command<F, A> {
  return command;
}
