/**
 * Looks for bytes in the memory of another process: shows what a process has in its hands, not what it says about itself.
 * Linux only, and only where the system lets a parent look at its child (ptrace(2), "access mode checking").
 * @module
 */
import { Buffer } from "node:buffer";

/** Bytes looked at together. */
const PIECE = 4 * 1024 * 1024;
/** Bytes of a page, and of what the kernel says about each (proc_pid_pagemap(5)). */
const PAGE = 4096;
const PAGE_ENTRY = 8;
/** A process of ours has some hundred megabytes; beyond this the search ends, so that it always does. */
const MAX_BYTES = 2 * 1024 * 1024 * 1024;

/** What was found. */
export interface MemorySearch {
  /** Does any writable memory hold the bytes? */
  readonly found: boolean;
  /** Bytes looked at; less than all where `found`. */
  readonly bytes: number;
}

interface Region {
  readonly start: number;
  readonly end: number;
}

/** Searches all writable memory of a process; `undefined` where this system does not let us. */
export function searchMemory(pid: number, needle: Uint8Array): MemorySearch | undefined {
  if (Deno.build.os !== "linux") return undefined;
  const wanted = Buffer.from(needle);
  const buffer = Buffer.alloc(PIECE + needle.length);
  let bytes = 0;
  try {
    using memory = Deno.openSync(`/proc/${pid}/mem`);
    using pages = Deno.openSync(`/proc/${pid}/pagemap`);
    for (const region of writableRegions(Deno.readTextFileSync(`/proc/${pid}/maps`))) {
      for (const { start, end } of presentParts(pages, region)) {
        // Pieces overlap by what a needle across their border would need.
        for (let at = start; at < end && bytes < MAX_BYTES; at += PIECE) {
          const count = readAt(memory, at, buffer.subarray(0, Math.min(end - at, buffer.length)));
          bytes += Math.min(count, PIECE);
          if (buffer.subarray(0, count).includes(wanted)) return { found: true, bytes };
        }
      }
    }
  } catch { /* not allowed: as good as not found, but for the bytes */ }
  return bytes === 0 ? undefined : { found: false, bytes };
}

/** What can be read there; less where the process has given it back meanwhile. */
function readAt(file: Deno.FsFile, at: number, into: Uint8Array): number {
  let done = 0;
  try {
    file.seekSync(at, Deno.SeekMode.Start);
    while (done < into.length) {
      const count = file.readSync(into.subarray(done));
      if (!count) break;
      done += count;
    }
  } catch { /* see above */ }
  return done;
}

function* writableRegions(maps: string): Generator<Region> {
  for (const line of maps.split("\n")) {
    const [, start, end] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? [];
    if (start && end) yield { start: parseInt(start, 16), end: parseInt(end, 16) };
  }
}

/** The parts of a region that have ever been written to: most of what a runtime reserves has not. */
function* presentParts(pages: Deno.FsFile, region: Region): Generator<Region> {
  const entries = Buffer.alloc(PIECE / PAGE * PAGE_ENTRY);
  let start: number | undefined;
  for (let at = region.start; at < region.end;) {
    const wanted = Math.min(entries.length, (region.end - at) / PAGE * PAGE_ENTRY);
    const count = readAt(pages, at / PAGE * PAGE_ENTRY, entries.subarray(0, wanted));
    if (count < PAGE_ENTRY) break;
    for (let entry = 0; entry + PAGE_ENTRY <= count; entry += PAGE_ENTRY, at += PAGE) {
      // The two highest bits: in memory, or swapped out.
      const present = entries[entry + PAGE_ENTRY - 1]! >= 0x40;
      if (present) start ??= at;
      else if (start !== undefined) {
        yield { start, end: at };
        start = undefined;
      }
    }
  }
  if (start !== undefined) yield { start, end: region.end };
}
