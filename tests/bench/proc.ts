/**
 * What processes have used, from Linux's /proc: CPU time and memory of a process and all its descendants (an `sshd` does its
 * work in children).
 * @module
 */

/** Clock ticks per second in /proc (USER_HZ: 100 on every architecture that Deno runs on). */
const TICKS = 100;

/** Use of one process tree. */
export interface Usage {
  /** User and system time so far. */
  readonly cpuSeconds: number;
  /** Resident memory now. */
  readonly residentBytes: number;
}

interface ProcessEntry extends Usage {
  readonly pid: number;
  readonly parent: number;
}

function readEntry(pid: number): ProcessEntry | undefined {
  try {
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    // The name in brackets may hold anything; what follows it is numbers from field 3 on (proc_pid_stat(5)).
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const ticks = Number(fields[11]) + Number(fields[12]);
    // Pages of 4 KiB: x86_64, and aarch64 as it is usually built.
    return {
      pid,
      parent: Number(fields[1]),
      cpuSeconds: ticks / TICKS,
      residentBytes: Number(fields[21]) * 4096,
    };
  } catch {
    return undefined;
  }
}

/** What `root` and its descendants have used; zero where it has ended. */
export function usageOf(root: number): Usage {
  const entries: ProcessEntry[] = [];
  for (const { name } of Deno.readDirSync("/proc")) {
    const pid = Number(name);
    const entry = Number.isInteger(pid) ? readEntry(pid) : undefined;
    if (entry) entries.push(entry);
  }
  const family = new Set([root]);
  // Children may be listed before their parents.
  for (let size = 0; size !== family.size;) {
    size = family.size;
    for (const { pid, parent } of entries) if (family.has(parent)) family.add(pid);
  }
  let cpuSeconds = 0;
  let residentBytes = 0;
  for (const entry of entries) {
    if (!family.has(entry.pid)) continue;
    cpuSeconds += entry.cpuSeconds;
    residentBytes += entry.residentBytes;
  }
  return { cpuSeconds, residentBytes };
}
