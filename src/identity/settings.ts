/**
 * What a role remembers of its last start (services, forwards, ports), so that it can start again without being told.
 * @module
 */
import type * as v from "valibot";
import type { StateFolder } from "./state_folder.ts";

const FILE = "settings.json";

/**
 * The remembered settings; `undefined` where there are none.
 *
 * @throws {StateError} `corrupt`, saying what is wrong
 */
export function loadSettings<Schema extends v.GenericSchema>(
  folder: StateFolder,
  schema: Schema,
): Promise<v.InferOutput<Schema> | undefined> {
  return folder.readJson(FILE, schema, {
    next: `Remove it, and give the services on the command line again`,
  });
}

/** Remembers settings: any value that JSON can hold. @throws {StateError} */
export function saveSettings(folder: StateFolder, settings: unknown): Promise<void> {
  return folder.writeJson(FILE, settings);
}
