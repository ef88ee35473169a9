/**
 * The folder in which a role keeps what must survive: mode 0700, files 0600, a header that says whose it is.
 * @module
 */
import { join } from "node:path";
import * as v from "valibot";
import { decodeUtf8Strict, encodeUtf8 } from "../core/mod.ts";
import { isTemporaryFile, writeAtomically } from "./atomic_file.ts";
import { describeIssues } from "./schemas.ts";
import { IDENTITY_KINDS, type IdentityKind } from "./server_name.ts";
import { quotePath, StateError, stateErrorOf } from "./state_error.ts";
import { lockFolder, type StateLock } from "./state_lock.ts";

/** Raised when older programs could not read what newer ones write. */
export const STATE_FORMAT = 1;

/** Files are small: 16 MiB would be a mistake, and is refused rather than read. */
const MAX_FILE_BYTES = 16 * 1024 * 1024;

const HEADER = "postern.json";
const HeaderSchema = v.object({ format: v.number(), role: v.picklist(IDENTITY_KINDS) });

/** How to open a state folder. */
export interface OpenStateOptions {
  readonly role: IdentityKind;
  /** Make it where it is missing. @default false */
  readonly create?: boolean;
}

/** An open state folder. Reading and writing is by file name, never by a name that came from outside. */
export class StateFolder {
  readonly path: string;
  readonly role: IdentityKind;

  /** Use {@linkcode openStateFolder}. */
  constructor(path: string, role: IdentityKind) {
    this.path = path;
    this.role = role;
  }

  /** The path of a file in it. */
  file(name: string): string {
    return join(this.path, name);
  }

  /**
   * Takes the folder for this process until released, or until the process ends in whatever way.
   *
   * @throws {StateError} `in-use` where another process has it, `read-only` where nothing can be written
   */
  async lock(): Promise<StateLock> {
    const lock = await lockFolder(this.path, this.role);
    // Only the holder of the lock writes, so what lies around is from a process that was killed.
    for await (const entry of Deno.readDir(this.path)) {
      if (isTemporaryFile(entry.name)) await Deno.remove(this.file(entry.name)).catch(() => {});
    }
    return lock;
  }

  /** A file's bytes; `undefined` where it does not exist. @throws {StateError} */
  async read(name: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const path = this.file(name);
    try {
      const { size } = await Deno.stat(path);
      if (size > MAX_FILE_BYTES) throw corruptFile(path, `it has ${size} bytes`);
      return await Deno.readFile(path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw stateErrorOf(error, "read", path);
    }
  }

  /** A file's text; `undefined` where it does not exist. @throws {StateError} `corrupt` where it is not UTF-8 */
  async readText(name: string): Promise<string | undefined> {
    const bytes = await this.read(name);
    if (bytes === undefined) return undefined;
    const text = decodeUtf8Strict(bytes);
    if (text === undefined) throw corruptFile(this.file(name), "it is not text");
    return text;
  }

  /**
   * A JSON file of a given shape; `undefined` where it does not exist.
   *
   * @param options.next what a person can do about it when it is corrupt
   * @throws {StateError} `corrupt` saying which file and what is wrong
   */
  async readJson<Schema extends v.GenericSchema>(
    name: string,
    schema: Schema,
    options: { next?: string } = {},
  ): Promise<v.InferOutput<Schema> | undefined> {
    const text = await this.readText(name);
    if (text === undefined) return undefined;
    const path = this.file(name);
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      throw corruptFile(path, "it is not JSON", options);
    }
    const parsed = v.safeParse(schema, value);
    if (!parsed.success) throw corruptFile(path, describeIssues(parsed.issues), options);
    return parsed.output;
  }

  /** Writes a file, whole or not at all. @throws {StateError} */
  async write(name: string, data: Uint8Array | string): Promise<void> {
    try {
      await writeAtomically(this.file(name), typeof data === "string" ? encodeUtf8(data) : data);
    } catch (error) {
      throw stateErrorOf(error, "write", this.file(name));
    }
  }

  /** {@linkcode write} of JSON that a person can read. @throws {StateError} */
  writeJson(name: string, value: unknown): Promise<void> {
    return this.write(name, JSON.stringify(value, undefined, 2) + "\n");
  }

  /** Removes a file if it is there. @throws {StateError} */
  async remove(name: string): Promise<void> {
    try {
      await Deno.remove(this.file(name));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) {
        throw stateErrorOf(error, "remove", this.file(name));
      }
    }
  }
}

/** A file that does not hold what it should. */
export function corruptFile(
  path: string,
  why: string,
  options: { next?: string } = {},
): StateError {
  return new StateError("corrupt", `Cannot use ${quotePath(path)} as it is damaged: ${why}`, {
    next: options.next ?? "Restore it from a backup, or move it away",
  });
}

/**
 * Opens a role's state folder, or makes it.
 *
 * @throws {StateError} `missing`, `not-ours` (other files are in it), `other-role`, `newer`, `corrupt`, `read-only`
 */
export async function openStateFolder(
  path: string,
  options: OpenStateOptions,
): Promise<StateFolder> {
  const { role, create = false } = options;
  const folder = new StateFolder(path, role);
  const entries = await listFolder(path);
  if (entries === undefined && !create) throw missing(path, role);
  if (entries?.includes(HEADER)) {
    await checkHeader(folder);
    await makePrivate(path);
    return folder;
  }
  // What a killed process left of a first start does not count.
  const foreign = entries?.find((name) => !isTemporaryFile(name));
  if (foreign !== undefined) {
    throw new StateError(
      "not-ours",
      `Cannot use ${quotePath(path)} as a state folder as it holds other files, such as ${
        quotePath(foreign)
      }`,
      { next: "Give an empty or new folder with --state" },
    );
  }
  if (!create) throw missing(path, role);
  try {
    await Deno.mkdir(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw stateErrorOf(error, "make state folder", path);
  }
  await makePrivate(path);
  await folder.writeJson(HEADER, { format: STATE_FORMAT, role });
  return folder;
}

function missing(path: string, role: IdentityKind): StateError {
  const start = role === "relay"
    ? `Start the relay once: postern relay --state ${path}`
    : `Join a network: postern ${role} --state ${path} --invite-file FILE …`;
  return new StateError(
    "missing",
    `Cannot open state folder ${quotePath(path)} as no ${role} has been started there`,
    { next: start },
  );
}

async function listFolder(path: string): Promise<string[] | undefined> {
  try {
    const names: string[] = [];
    for await (const entry of Deno.readDir(path)) names.push(entry.name);
    return names;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    if (error instanceof Deno.errors.NotADirectory) {
      throw new StateError(
        "not-ours",
        `Cannot use ${quotePath(path)} as a state folder as it is a file`,
        {
          next: "Give a folder with --state",
          cause: error,
        },
      );
    }
    throw stateErrorOf(error, "open state folder", path);
  }
}

async function checkHeader(folder: StateFolder): Promise<void> {
  const next = "Restore the folder from a backup, or give another with --state";
  // The format is looked at alone first: a newer header may have any shape beside it.
  const any = await folder.readJson(HEADER, v.object({ format: v.number() }), { next });
  if (any === undefined) throw missing(folder.path, folder.role);
  if (any.format > STATE_FORMAT) {
    throw new StateError(
      "newer",
      `Cannot use state folder ${quotePath(folder.path)} as a newer version of Postern wrote it ` +
        `(format ${any.format}, and this one knows ${STATE_FORMAT})`,
      { next: "Run the newer version, or give another folder with --state" },
    );
  }
  const header = await folder.readJson(HEADER, HeaderSchema, { next });
  if (header !== undefined && header.role !== folder.role) {
    throw new StateError(
      "other-role",
      `Cannot use state folder ${
        quotePath(folder.path)
      } as ${folder.role} as it is another role's: ` +
        header.role,
      { next: "Give each role a folder of its own with --state" },
    );
  }
}

/** Takes away what group and others may do. A folder of somebody else's is theirs to mend. */
async function makePrivate(path: string): Promise<void> {
  if (Deno.build.os === "windows") return;
  const { mode } = await Deno.stat(path);
  if (mode === null || (mode & 0o077) === 0) return;
  try {
    await Deno.chmod(path, 0o700);
  } catch (error) {
    throw stateErrorOf(error, "make private (mode 0700)", path);
  }
}
