/**
 * From argv to an exit code: 0 done, 1 failed, 2 wrong usage.
 * @module
 */
import { messageOf, UsageError, UserError } from "../core/errors.ts";
import { SELF_VARIABLE } from "../core/variables.ts";
import { VERSION } from "../core/version.ts";
import { COMMANDS } from "./command_list.ts";
import { type Io, OutputClosed } from "./io.ts";

const HELP_WORDS = ["--help", "-h"];
const VERSION_WORDS = ["--version", "-V"];

/** How a person starts this program, for hints that can be copied. */
export function selfCommand(env: (name: string) => string | undefined): string {
  return env(SELF_VARIABLE) ??
    (Deno.build.standalone ? "postern" : "deno run -A main.ts");
}

/** A hint as a sentence, with `postern` in it as what this person has to type. */
function localized(text: string, self: string): string {
  const hint = text.startsWith("postern ") ? text : text.charAt(0).toUpperCase() + text.slice(1);
  return self === "postern" ? hint : hint.replace(/(^|[\s`(])postern(?= [a-z-])/g, `$1${self}`);
}

/** Takes the command's name out of argv: flags that every command has may stand before it. */
async function splitCommand(argv: readonly string[]): Promise<{ name?: string; rest: string[] }> {
  if (argv[0] !== undefined && !argv[0].startsWith("-")) {
    return { name: argv[0], rest: argv.slice(1) };
  }
  const [{ parseArgs }, { COMMON_FLAGS }, { kebabOf }] = await Promise.all([
    import("node:util"),
    import("./command.ts"),
    import("./flags.ts"),
  ]);
  const options = Object.fromEntries(
    Object.entries(COMMON_FLAGS).map(([key, flag]) => [
      kebabOf(key),
      { type: flag.kind === "switch" ? "boolean" as const : "string" as const },
    ]),
  );
  const { tokens } = parseArgs({
    args: [...argv],
    options,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  for (const token of tokens) {
    if (token.kind === "option" && !Object.hasOwn(options, token.name)) break;
    if (token.kind === "positional") {
      return { name: token.value, rest: argv.toSpliced(token.index, 1) };
    }
  }
  return { rest: [...argv] };
}

async function painted(io: Io) {
  const { createPaint, wantsColour } = await import("./terminal.ts");
  const paint = createPaint(wantsColour(io.outIsTerminal, io.env));
  return { paint, width: Math.min(io.columns(), 110) };
}

async function showOverview(io: Io): Promise<number> {
  const { renderOverview } = await import("./help.ts");
  io.out(renderOverview(COMMANDS, { ...await painted(io), version: VERSION }));
  return 0;
}

async function loadCommand(name: string) {
  const entry = COMMANDS.find((one) => one.name === name);
  if (entry !== undefined) return await entry.load();
  const { nearest } = await import("./suggest.ts");
  const near = nearest(name, [...COMMANDS.map((one) => one.name), "help"]);
  throw new UsageError(`Unknown command ${JSON.stringify(name)}`, {
    next: near === undefined
      ? "postern help lists the commands"
      : `did you mean ${near}? (postern help lists the commands)`,
  });
}

async function showHelp(name: string | undefined, io: Io): Promise<number> {
  if (name === undefined || name === "help") return await showOverview(io);
  const command = await loadCommand(name);
  const { renderCommandHelp } = await import("./help.ts");
  io.out(renderCommandHelp(command, await painted(io)));
  return 0;
}

function showVersion(io: Io): number {
  io.out(`postern ${VERSION}\n`);
  return 0;
}

async function dispatch(argv: readonly string[], io: Io, self: string): Promise<number> {
  if (argv.length === 0) return await showOverview(io);
  if (argv.length === 1 && VERSION_WORDS.includes(argv[0]!)) return showVersion(io);
  const { asksFor, parseArgv } = await import("./parse_argv.ts");
  const { name, rest } = await splitCommand(argv);
  if (name === "help") return await showHelp(rest.find((word) => !word.startsWith("-")), io);
  if (asksFor(rest, ...HELP_WORDS)) return await showHelp(name, io);
  if (asksFor(rest, ...VERSION_WORDS)) return showVersion(io);
  if (name === undefined) {
    // Only flags: let the parser say what is wrong with them, else there is nothing to do.
    parseArgv(rest, (await import("./command.ts")).COMMON_FLAGS, { command: "" });
    throw new UsageError("Cannot start without a command", {
      next: "postern help lists the commands",
    });
  }
  const command = await loadCommand(name);
  const { misspeltTwins, resolveValues } = await import("./resolve.ts");
  const values = resolveValues(command, rest, io);
  for (const twin of misspeltTwins(command, io.envNames())) {
    io.err(`postern: ${twin.name} is set but means nothing; did you mean ${twin.meant}?\n`);
  }
  return await command.run(values, { io, self });
}

/** Did the system refuse something (a port in use, a full disk)? Its message says all that there is to say. */
function isSystemError(error: unknown): boolean {
  return Object.values(Deno.errors).some((kind) => error instanceof kind);
}

/** Runs one command line; everything that can go wrong becomes a message and an exit code. */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  const self = selfCommand(io.env);
  try {
    return await dispatch(argv, io, self);
  } catch (error) {
    if (error instanceof OutputClosed) return 0;
    const { escapeLines } = await import("./terminal.ts");
    const known = error instanceof UserError || error instanceof UsageError;
    io.err(`postern: ${escapeLines(messageOf(error))}\n`);
    if (known && error.next !== undefined) {
      io.err(`  ${localized(escapeLines(error.next), self)}\n`);
    }
    if (!known && !isSystemError(error) && error instanceof Error && error.stack !== undefined) {
      // Not foreseen, so a fault of ours: whoever looks into it needs to know where.
      io.err(`${escapeLines(error.stack)}\n`);
    }
    return error instanceof UsageError ? 2 : 1;
  }
}
