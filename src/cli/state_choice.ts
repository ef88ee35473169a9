/**
 * Which state folder a command means.
 * @module
 */
import { resolve } from "node:path";
import { UserError } from "../core/errors.ts";
import { defaultStateFolder } from "../identity/default_folder.ts";
import type { Ask } from "../roles/asks.ts";

/** The three roles. */
export const ROLE_NAMES = ["agent", "connector", "relay"] as const;
/** One of {@linkcode ROLE_NAMES}. */
export type RoleName = typeof ROLE_NAMES[number];

/** The folder that was given, or the platform's default for this role; absolute. */
export function stateFolderOf(role: RoleName, given: string | undefined): string {
  return resolve(given ?? defaultStateFolder(role));
}

/** A role that runs, and where. */
export interface RunningRole {
  readonly state: string;
}

/** How to start a role, for {@linkcode UserError.next}. */
function howToStart(roles: readonly RoleName[], given: string | undefined): string {
  const where = given === undefined ? "" : ` --state ${given}`;
  const role = roles.length === 1 ? roles[0] : "relay|connector|agent";
  return `start one with: postern ${role}${where} (or say where it runs with --state DIR)`;
}

/** Folders to look at: the given one, or the defaults of these roles. */
function foldersOf(given: string | undefined, roles: readonly RoleName[]): string[] {
  return given === undefined
    ? roles.map((role) => stateFolderOf(role, undefined))
    : [resolve(given)];
}

/**
 * Asks the roles that run here, each once, and answers what each said first.
 *
 * @param given the folder of `--state`; without it the default folders of `roles` are tried
 * @throws {UserError} where none runs
 */
export async function askRunning<T>(
  given: string | undefined,
  ask: Ask,
  options: { roles?: readonly RoleName[]; signal?: AbortSignal } = {},
): Promise<readonly { readonly state: string; readonly answer: T }[]> {
  const { askStatus, NotRunning } = await import("../roles/status_client.ts");
  const roles = options.roles ?? ROLE_NAMES;
  const found = [];
  for (const state of foldersOf(given, roles)) {
    try {
      const asking = askStatus(state, ask, options.signal ? { signal: options.signal } : {});
      for await (const answer of asking) {
        found.push({ state, answer: answer as T });
        break;
      }
    } catch (error) {
      if (!(error instanceof NotRunning)) throw error;
    }
  }
  if (found.length === 0 && !options.signal?.aborted) {
    throw new UserError(notRunningMessage(given, roles), { next: howToStart(roles, given) });
  }
  return found;
}

function notRunningMessage(given: string | undefined, roles: readonly RoleName[]): string {
  const what = roles.length === 1 ? `no ${roles[0]}` : "no role";
  return given === undefined
    ? `Cannot ask as ${what} runs in the default state folders`
    : `Cannot ask as ${what} runs with the state folder "${given}"`;
}

/**
 * The folder of the one role among `roles` that runs here.
 *
 * @throws {UserError} where none runs
 */
export async function runningFolder(
  given: string | undefined,
  roles: readonly RoleName[],
): Promise<string> {
  const { findStatusEndpoint, dialStatus } = await import("../roles/status_endpoint.ts");
  for (const state of foldersOf(given, roles)) {
    const endpoint = findStatusEndpoint(state);
    if (endpoint === undefined) continue;
    try {
      (await dialStatus(endpoint)).close();
      return state;
    } catch { /* nobody behind it */ }
  }
  throw new UserError(notRunningMessage(given, roles), { next: howToStart(roles, given) });
}
