/**
 * One process per state folder: a lock that the kernel gives back when its holder ends, however it ends.
 * @module
 */
import { join } from "node:path";
import { decodeUtf8, encodeUtf8 } from "../core/mod.ts";
import { quotePath, StateError, stateErrorOf } from "./state_error.ts";

const LOCK_FILE = "lock";

/** A held lock; disposable. */
export interface StateLock {
  /** Gives the folder back; idempotent. */
  release(): void;
  [Symbol.dispose](): void;
}

/**
 * Locks a folder for this process. The file stays when the lock is gone: removing it would let two processes lock two files.
 *
 * @throws {StateError} `in-use`, naming the process where it is known; `read-only`
 */
export async function lockFolder(folder: string, role: string): Promise<StateLock> {
  const path = join(folder, LOCK_FILE);
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path, { read: true, write: true, create: true, mode: 0o600 });
  } catch (error) {
    throw stateErrorOf(error, "lock", path);
  }
  try {
    if (!await file.tryLock(true)) throw await inUse(file, folder, role);
    await file.truncate();
    await file.write(encodeUtf8(`${Deno.pid}\n`));
  } catch (error) {
    file.close();
    throw stateErrorOf(error, "lock", path);
  }
  let held = true;
  const release = () => {
    if (!held) return;
    held = false;
    file.close();
  };
  return { release, [Symbol.dispose]: release };
}

async function inUse(file: Deno.FsFile, folder: string, role: string): Promise<StateError> {
  let holder = "";
  try {
    const bytes = new Uint8Array(16);
    const length = await file.read(bytes);
    const pid = /^\d+/.exec(decodeUtf8(bytes.subarray(0, length ?? 0)))?.[0];
    if (pid !== undefined) holder = ` (process ${pid})`;
  } catch {
    // Where locks are mandatory the file cannot be read; the message does without the number.
  }
  return new StateError(
    "in-use",
    `Cannot use state folder ${quotePath(folder)} as another ${role}${holder} is using it`,
    { next: "Stop that one, or give this one a folder of its own with --state" },
  );
}
