/**
 * The `--config` file: one JSON object whose keys are the command's flags and arguments, in camelCase or as on the
 * command line: `{"state": "/var/lib/postern", "services": ["web=127.0.0.1:8080"], "noDirect": true}`.
 * @module
 */
import { dirname, isAbsolute, join } from "node:path";
import { messageOf, UsageError } from "../core/errors.ts";
import { type Arguments, type Flags, kebabOf } from "./flags.ts";
import { nearest } from "./suggest.ts";

/** A config file is written by hand; what is larger than this is some other file. */
const MAX_CONFIG_BYTES = 1024 * 1024;

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

function kindOf(value: Json): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "a list" : typeof value === "object" ? "an object" : typeof value;
}

function scalarText(value: Json): string | undefined {
  return typeof value === "string" || typeof value === "number" ? String(value) : undefined;
}

/**
 * Texts of a value that may repeat: a list, one value, or (for `NAME=ADDRESS` arguments) an object from name to
 * address. `undefined` where it is none of these.
 */
function listTexts(value: Json): string[] | undefined {
  const single = scalarText(value);
  if (single !== undefined) return [single];
  const entries = Array.isArray(value)
    ? value.map(scalarText)
    : value !== null && typeof value === "object"
    ? Object.entries(value).map(([name, item]) => {
      const text = scalarText(item);
      return text === undefined ? undefined : `${name}=${text}`;
    })
    : [undefined];
  return entries.includes(undefined) ? undefined : entries as string[];
}

/**
 * Reads the text of a config file into texts per key of the tables.
 *
 * @throws {UsageError} naming the file, the key and what is wanted there
 */
export function parseConfig(
  text: string,
  file: string,
  tables: { flags: Flags; args: Arguments },
): Map<string, readonly string[]> {
  const wrong = (what: string, next?: string) =>
    new UsageError(`Cannot use config file "${file}": ${what}`, next === undefined ? {} : { next });
  let json: Json;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw wrong(`it is not JSON (${messageOf(error)})`);
  }
  if (json === null || typeof json !== "object" || Array.isArray(json)) {
    throw wrong(`expected an object such as {"state": "DIR"}, found ${kindOf(json)}`);
  }
  const keys = new Map<string, string>();
  for (const [key, flag] of Object.entries(tables.flags)) {
    if (!flag.argvOnly && key !== "config") keys.set(key, key).set(kebabOf(key), key);
  }
  for (const key of Object.keys(tables.args)) keys.set(key, key).set(kebabOf(key), key);
  const texts = new Map<string, readonly string[]>();
  for (const [written, value] of Object.entries(json)) {
    const key = keys.get(written);
    if (key === undefined) {
      const near = nearest(written, [...keys.keys()]);
      throw wrong(
        `unknown key ${JSON.stringify(written)}`,
        near === undefined
          ? `known keys: ${[...new Set(keys.values())].join(", ")}`
          : `did you mean "${near}"?`,
      );
    }
    if (texts.has(key)) throw wrong(`"${key}" is there twice, as "${written}" too`);
    const flag = tables.flags[key];
    const argument = tables.args[key];
    let found: readonly string[] | undefined;
    let wanted: string;
    if (flag?.kind === "switch") {
      wanted = "true or false";
      if (typeof value === "boolean") found = [String(value)];
    } else if (flag?.kind === "list" || argument?.kind.startsWith("rest")) {
      wanted = `a list of ${flag?.kind === "list" ? flag.value : argument!.label}`;
      found = listTexts(value);
    } else {
      wanted = `one ${flag?.kind === "value" ? flag.value : argument!.label}`;
      const single = scalarText(value);
      if (single !== undefined) found = [single];
    }
    if (found === undefined) {
      throw wrong(`"${written}" is ${kindOf(value)}, expected ${wanted}`);
    }
    const isPath = flag !== undefined && flag.kind !== "switch" && flag.path;
    // A service manager starts programs in "/": paths in a file are meant from where the file is.
    texts.set(
      key,
      isPath ? found.map((p) => p === "-" || isAbsolute(p) ? p : join(dirname(file), p)) : found,
    );
  }
  return texts;
}

/**
 * Reads the file itself.
 *
 * @throws {UsageError} where it cannot be read
 */
export function readConfigFile(file: string): string {
  try {
    if (Deno.statSync(file).size > MAX_CONFIG_BYTES) {
      throw new RangeError(`it is larger than ${MAX_CONFIG_BYTES} bytes`);
    }
    return Deno.readTextFileSync(file);
  } catch (error) {
    throw new UsageError(`Cannot read config file "${file}": ${messageOf(error)}`);
  }
}
