/**
 * From argv to what was written for each flag and argument; nothing is read as a value yet.
 * @module
 */
import { parseArgs, type ParseArgsOptionsConfig } from "node:util";
import { UsageError } from "../core/errors.ts";
import { type Flags, kebabOf } from "./flags.ts";
import { nearest } from "./suggest.ts";

/** What argv holds. */
export interface ParsedArgv {
  /** Texts given per flag key, in order; a switch without a value gives `"true"`. */
  readonly flags: ReadonlyMap<string, readonly string[]>;
  /** Arguments without a flag, in order. */
  readonly words: readonly string[];
}

/** The flag that `written` (`--listn`, `-state`) was probably meant to be. */
export function nearestFlag(written: string, flags: Flags): string | undefined {
  const bare = written.replace(/^-+/, "").replace(/=.*/s, "");
  const names = Object.keys(flags).map(kebabOf);
  // "--no-json" is how other programs say "--json=false".
  const name = nearest(bare, names) ?? nearest(bare.replace(/^no-/, ""), names);
  return name === undefined ? undefined : `--${name}`;
}

/**
 * Splits argv by the command's flags. `--` ends flags; `--flag=value` and `--flag value` are the same; a value that
 * begins with a dash needs the former (a lone `-` does not).
 *
 * @throws {UsageError} for an unknown flag (naming the nearest), a missing value, or a flag given twice
 */
export function parseArgv(
  argv: readonly string[],
  flags: Flags,
  options: { command: string },
): ParsedArgv {
  const seeHelp = `postern ${options.command}${options.command && " "}--help lists the flags`;
  const keys = new Map<string, string>();
  const config: ParseArgsOptionsConfig = {};
  for (const [key, flag] of Object.entries(flags)) {
    keys.set(kebabOf(key), key);
    config[kebabOf(key)] = {
      type: flag.kind === "switch" ? "boolean" : "string",
      multiple: true,
      ...(flag.short === undefined ? {} : { short: flag.short }),
    };
  }
  const { tokens } = parseArgs({
    args: [...argv],
    options: config,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const given = new Map<string, string[]>();
  const words: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") words.push(token.value);
    if (token.kind !== "option") continue;
    const key = keys.get(token.name);
    const flag = key === undefined ? undefined : flags[key];
    if (key === undefined || flag === undefined) {
      const written = argv[token.index]!;
      // "-state" is read as a bundle of letters; what the person wrote is the better thing to name.
      const shown = written.includes("=") ? written.slice(0, written.indexOf("=")) : written;
      const near = nearestFlag(shown, flags);
      const of = options.command && ` for ${options.command}`;
      throw new UsageError(`Unknown flag ${JSON.stringify(shown)}${of}`, {
        next: near === undefined ? seeHelp : `did you mean ${near}?`,
      });
    }
    const name = `--${token.name}`;
    if (flag.kind !== "list" && given.has(key)) {
      throw new UsageError(`Cannot use ${name} twice`, { next: `give ${name} once` });
    }
    const text = flag.kind === "switch" ? token.value ?? "true" : token.value;
    const looksLikeFlag = !token.inlineValue && text !== undefined && /^-./.test(text) &&
      flag.kind !== "switch";
    if (text === undefined || text === "" || looksLikeFlag) {
      const value = flag.kind === "switch" ? "true" : flag.value;
      throw new UsageError(
        `Cannot use ${name} without a value`,
        {
          next: looksLikeFlag
            ? `write ${name} ${value}, or ${name}=${text} where the value begins with a dash`
            : `write ${name} ${value}`,
        },
      );
    }
    given.set(key, [...given.get(key) ?? [], text]);
  }
  return { flags: given, words };
}

/** Whether help or the version is asked for before `--`, whatever else may be wrong in argv. */
export function asksFor(argv: readonly string[], ...names: string[]): boolean {
  const end = argv.indexOf("--");
  return argv.slice(0, end < 0 ? argv.length : end).some((word) => names.includes(word));
}
