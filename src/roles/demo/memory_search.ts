/**
 * Looks for bytes in the memory of another process: shows what a process has in its hands, not what it says about itself.
 * Linux only, and only where the system lets a parent look at its child (ptrace(2), "access mode checking").
 * @module
 */
import { Buffer } from "node:buffer";

/** Bytes looked at together. */
const PIECE = 8 * 1024 * 1024;
/** A process of ours has a few hundred megabytes; beyond this the search ends, so that it always does. */
const MAX_BYTES = 2 * 1024 * 1024 * 1024;

/** What was found. */
export interface MemorySearch {
  /** Does any writable memory hold the bytes? */
  readonly found: boolean;
  /** Bytes looked at; less than all where `found`. */
  readonly bytes: number;
}

/** Searches all writable memory of a process; `undefined` where this system does not let us. */
export function searchMemory(pid: number, needle: Uint8Array): MemorySearch | undefined {
  if (Deno.build.os !== "linux") return undefined;
  try {
    const regions = residentRegions(Deno.readTextFileSync(`/proc/${pid}/smaps`));
    using memory = Deno.openSync(`/proc/${pid}/mem`);
    const buffer = Buffer.alloc(PIECE + needle.length);
    let bytes = 0;
    for (const { start, end } of regions) {
      // Pieces overlap by what a needle across their border would need.
      for (let at = start; at < end && bytes < MAX_BYTES; at += PIECE) {
        const wanted = Math.min(end - at, buffer.length);
        const count = readAt(memory, at, buffer.subarray(0, wanted));
        bytes += Math.min(count, PIECE);
        if (buffer.subarray(0, count).includes(needle)) return { found: true, bytes };
      }
    }
    return bytes === 0 ? undefined : { found: false, bytes };
  } catch {
    return undefined;
  }
}

function readAt(memory: Deno.FsFile, at: number, into: Uint8Array): number {
  let done = 0;
  try {
    memory.seekSync(at, Deno.SeekMode.Start);
    while (done < into.length) {
      const count = memory.readSync(into.subarray(done));
      if (!count) break;
      done += count;
    }
  } catch { /* unmapped meanwhile, or device memory: what was read counts */ }
  return done;
}

/** Writable regions that have at least one page in memory. */
function residentRegions(smaps: string): { start: number; end: number }[] {
  const regions = [];
  let current: { start: number; end: number } | undefined;
  for (const line of smaps.split("\n")) {
    const head = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) /.exec(line);
    if (head) {
      const [, start, end, mode] = head;
      current = mode!.startsWith("rw")
        ? { start: parseInt(start!, 16), end: parseInt(end!, 16) }
        : undefined;
    } else if (current && /^Rss: +[1-9]/.test(line)) regions.push(current);
  }
  return regions;
}
