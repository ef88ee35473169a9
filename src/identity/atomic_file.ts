/**
 * Files that are whole or not there: written beside, brought to the disk, then renamed over.
 * @module
 */
import { basename, dirname, join } from "node:path";

let counter = 0;

/** Does this name a temporary file of {@linkcode writeAtomically}, left by a process that was killed? */
export function isTemporaryFile(name: string): boolean {
  return /^\..+\.\d+-\d+\.tmp$/.test(name);
}

/**
 * Writes a file, mode 0600 (where the system has modes), so that a reader, or a power cut, sees the old or the new one.
 *
 * @throws whatever the system says; the old file is then untouched
 */
export async function writeAtomically(path: string, data: Uint8Array): Promise<void> {
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.${Deno.pid}-${counter++}.tmp`);
  try {
    using file = await Deno.open(temporary, {
      write: true,
      create: true,
      truncate: true,
      mode: 0o600,
    });
    await writeAll(file, data);
    await file.sync();
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw error;
  }
  try {
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw error;
  }
  await syncFolder(folder);
}

async function writeAll(file: Deno.FsFile, data: Uint8Array): Promise<void> {
  for (let offset = 0; offset < data.length;) offset += await file.write(data.subarray(offset));
}

/** The rename itself is on the disk only once the folder is; Windows has no such call and needs none. */
async function syncFolder(folder: string): Promise<void> {
  if (Deno.build.os === "windows") return;
  try {
    using handle = await Deno.open(folder);
    await handle.sync();
  } catch {
    // Some file systems refuse to sync a folder: they order renames themselves.
  }
}
