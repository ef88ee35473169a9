/**
 * How to start this very program once more.
 * @module
 */
import { existsSync } from "node:fs";
import { isAbsolute } from "node:path";
import { fileURLToPath } from "node:url";
import { CACHE_VARIABLE, SELF_VARIABLE, STOP_WITH_STDIN_VARIABLE } from "../../core/variables.ts";

/** A program and the arguments that come before a command's own. */
export interface SelfCommand {
  readonly program: string;
  readonly args: readonly string[];
}

/** What a child may inherit of this program's own variables; the rest are twins of flags and would change the roles. */
const KEPT_VARIABLES: readonly string[] = [SELF_VARIABLE, CACHE_VARIABLE];

/** The executable, be it compiled or self-extracting, or this Deno with the same main module. */
export function findSelf(): SelfCommand {
  if (Deno.build.standalone) return { program: Deno.execPath(), args: [] };
  const packed = Deno.env.get(SELF_VARIABLE);
  if (packed && isAbsolute(packed) && existsSync(packed)) return { program: packed, args: [] };
  const config = fileURLToPath(new URL("deno.json", Deno.mainModule));
  return {
    program: Deno.execPath(),
    args: [
      ...["run", "-A", "--no-check"],
      ...(existsSync(config) ? ["--config", config] : []),
      fileURLToPath(Deno.mainModule),
    ],
  };
}

/** The environment for the roles: everything but what would act as one of their flags. */
export function childEnvironment(): Record<string, string> {
  const own = Object.entries(Deno.env.toObject()).filter(([name]) =>
    !name.startsWith("POSTERN_") || KEPT_VARIABLES.includes(name)
  );
  // What they say is read by a program first, and they end with it.
  return { ...Object.fromEntries(own), NO_COLOR: "1", [STOP_WITH_STDIN_VARIABLE]: "1" };
}
