/**
 * From argv, environment and config file to the typed values of a command. Who wins: command line, then environment,
 * then config file, then the default.
 * @module
 */
import { messageOf, UsageError } from "../core/errors.ts";
import { CACHE_VARIABLE, SELF_VARIABLE, STOP_WITH_STDIN_VARIABLE } from "../core/variables.ts";
import type { AnyCommand } from "./command.ts";
import { COMMON_FLAGS } from "./command.ts";
import { parseConfig, readConfigFile } from "./config_file.ts";
import { environmentOf, type Flags, kebabOf, type Reader } from "./flags.ts";
import { parseArgv } from "./parse_argv.ts";
import { readBoolean } from "./readers.ts";
import { editDistance } from "./suggest.ts";

/** Where values come from, besides argv. */
export interface Sources {
  env(name: string): string | undefined;
  /** Text of a config file. @default readConfigFile */
  readonly readConfig?: (file: string) => string;
}

/** What somebody said about one key, and where. */
interface Said {
  readonly texts: readonly string[];
  /** For messages: `--listen`, `POSTERN_LISTEN`, `"listen" in relay.json`. */
  readonly where: string;
}

function read<T>(reader: Reader<T>, text: string, where: string): T {
  try {
    return reader(text);
  } catch (error) {
    throw new UsageError(`${where}: ${messageOf(error)}`);
  }
}

/** The command's own flags and those of every command. */
export function allFlags(command: Pick<AnyCommand, "flags">): Flags {
  return { ...command.flags, ...COMMON_FLAGS };
}

/**
 * The typed values, by key of the command's tables.
 *
 * @throws {UsageError} saying where the wrong thing was said and what would be right
 */
export function resolveValues(
  command: AnyCommand,
  argv: readonly string[],
  sources: Sources,
): Record<string, unknown> {
  const flags = allFlags(command);
  const seeHelp = `postern ${command.name} --help shows what belongs there`;
  const parsed = parseArgv(argv, flags, { command: command.name });
  const fromEnvironment = (key: string): Said | undefined => {
    const flag = flags[key];
    if (flag === undefined || flag.argvOnly) return undefined;
    const name = environmentOf(key);
    const text = sources.env(name);
    if (text === undefined) return undefined;
    const texts = flag.kind === "list"
      ? text.split(",").map((part) => part.trim()).filter((part) => part !== "")
      : [text];
    return { texts, where: name };
  };
  const file = parsed.flags.get("config")?.[0] ?? fromEnvironment("config")?.texts[0];
  const config = file === undefined
    ? new Map<string, readonly string[]>()
    : parseConfig((sources.readConfig ?? readConfigFile)(file), file, {
      flags,
      args: command.args,
    });
  const fromConfig = (key: string): Said | undefined => {
    const texts = config.get(key);
    return texts && { texts, where: `"${key}" in ${file}` };
  };

  const values: Record<string, unknown> = {};
  for (const [key, flag] of Object.entries(flags)) {
    const texts = parsed.flags.get(key);
    const said: Said | undefined = texts
      ? { texts, where: `--${kebabOf(key)}` }
      : fromEnvironment(key) ?? fromConfig(key);
    if (said === undefined) values[key] = flag.fallback;
    else if (flag.kind === "switch") values[key] = read(readBoolean, said.texts[0]!, said.where);
    else if (flag.kind === "value") values[key] = read(flag.read, said.texts[0]!, said.where);
    else values[key] = said.texts.map((text) => read(flag.read, text, said.where));
  }

  const words = [...parsed.words];
  for (const [key, argument] of Object.entries(command.args)) {
    const many = argument.kind === "rest" || argument.kind === "rest-or-none";
    const taken = words.splice(0, many ? words.length : 1);
    const said: Said = taken.length > 0
      ? { texts: taken, where: argument.label }
      : fromConfig(key) ?? { texts: [], where: argument.label };
    if (said.texts.length === 0 && (argument.kind === "one" || argument.kind === "rest")) {
      throw new UsageError(`Cannot ${command.name} without ${argument.label}: ${argument.help}`, {
        next: seeHelp,
      });
    }
    const typed = said.texts.map((text) => read(argument.read, text, said.where));
    values[key] = many ? typed : typed[0];
  }
  if (words.length > 0) {
    const labels = Object.values(command.args).map((argument) => argument.label);
    const takes = labels.length === 0 ? "takes no arguments" : `takes only ${labels.join(" ")}`;
    throw new UsageError(
      `Unexpected argument ${JSON.stringify(words[0])}: ${command.name} ${takes}`,
      { next: seeHelp },
    );
  }
  return values;
}

/**
 * Environment variables that are probably misspelt twins of this command's flags, and what was probably meant. They are
 * worth a warning, not an error: others set `POSTERN_…` variables too (a container platform does for a service so named).
 */
export function misspeltTwins(
  command: AnyCommand,
  names: readonly string[],
): { readonly name: string; readonly meant: string }[] {
  const known = [
    ...Object.keys(allFlags(command)).map(environmentOf),
    "POSTERN_INVITE",
    SELF_VARIABLE,
    CACHE_VARIABLE,
    STOP_WITH_STDIN_VARIABLE,
  ];
  const found = [];
  for (const name of names) {
    if (!name.startsWith("POSTERN_") || known.includes(name)) continue;
    // Two slips, not more: POSTERN_ is common to all, so a share of the length would say too much.
    const meant = known.find((one) => editDistance(one, name) <= 2);
    if (meant !== undefined) found.push({ name, meant });
  }
  return found;
}
