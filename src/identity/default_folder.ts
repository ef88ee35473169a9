/**
 * Where state is kept when nobody says otherwise.
 * @module
 */
import { join } from "node:path";
import { UserError } from "../core/mod.ts";
import type { IdentityKind } from "./server_name.ts";

/** What the choice depends on. */
export interface FolderEnvironment {
  readonly os: typeof Deno.build.os;
  /** An environment variable; empty counts as not set. */
  readonly env: (name: string) => string | undefined;
}

const HERE: FolderEnvironment = { os: Deno.build.os, env: (name) => Deno.env.get(name) };

/**
 * A role's default state folder: `$XDG_STATE_HOME/postern/<role>` (XDG Base Directory Specification; by default below `~/.local/state`),
 * `~/Library/Application Support/postern/<role>` on macOS, `%LOCALAPPDATA%\postern\<role>` on Windows.
 *
 * @throws {UserError} where not even a home folder is known
 */
export function defaultStateFolder(
  role: IdentityKind,
  environment: FolderEnvironment = HERE,
): string {
  const env = (name: string) => environment.env(name) || undefined;
  const base = environment.os === "windows"
    ? env("LOCALAPPDATA")
    : environment.os === "darwin"
    ? below(env("HOME"), "Library", "Application Support")
    : absolute(env("XDG_STATE_HOME")) ?? below(env("HOME"), ".local", "state");
  if (base === undefined) {
    throw new UserError("Cannot choose a state folder as no home folder is known", {
      next: "Give one with --state",
    });
  }
  return join(base, "postern", role);
}

function below(home: string | undefined, ...parts: string[]): string | undefined {
  return home === undefined ? undefined : join(home, ...parts);
}

/** The specification says to ignore relative paths. */
function absolute(path: string | undefined): string | undefined {
  return path?.startsWith("/") ? path : undefined;
}
