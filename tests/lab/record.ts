/**
 * What is written down about each living lab, so that another process can use it, and clean up after a dead one.
 * @module
 */
import process from "node:process";
import { RUN_FOLDER } from "./emulator.ts";
import { nodesOf } from "./plan.ts";
import { removeNamespaces } from "./namespaces.ts";
import type { LabOptions, NodeName, Site } from "./options.ts";

/** What of a site changes while a lab lives. */
export interface SiteState {
  /** Conntrack zone and mask of the ports: both change when the NAT rebinds. */
  zone: number;
  portMask: number;
  /** The outermost box has its second address. */
  moved: boolean;
  /** The host is in its second network. */
  roamed: boolean;
  udpCut: "all" | number[];
  v6Cut: boolean;
}

/** A living lab. */
export interface LabRecord {
  readonly id: string;
  readonly options: LabOptions;
  /** Process that the lab ends with; `null`: it stays until somebody destroys it. */
  readonly owner: { readonly pid: number; readonly started: string } | null;
  /** The link emulator's. */
  emulator: { readonly pid: number; readonly started: string } | null;
  readonly sites: Record<Site, SiteState>;
}

/** The folder of one lab. */
export function labFolder(id: string): string {
  return `${RUN_FOLDER}/${id}`;
}

/** The control socket of its links. */
export function linkSocket(id: string): string {
  return `${labFolder(id)}/links.sock`;
}

/** The name of one of its namespaces. */
export function namespaceOf(id: string, node: NodeName): string {
  return `pl-${id}-${node}`;
}

/** A process by number and start time, as numbers are used again; `undefined` where there is none. */
export function identifyProcess(pid: number): { pid: number; started: string } | undefined {
  try {
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    // The name in brackets may hold spaces. Start time is field 22 (proc(5)), the 20th after it.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? undefined : { pid, started: fields[19] ?? "" };
  } catch {
    return undefined;
  }
}

function lives(process: { pid: number; started: string }): boolean {
  return identifyProcess(process.pid)?.started === process.started;
}

/** Takes a name that no other lab of this machine has. */
export async function claimId(wanted?: string): Promise<string> {
  await Deno.mkdir(RUN_FOLDER, { recursive: true, mode: 0o700 });
  for (let attempt = 0;; attempt++) {
    const id = wanted ?? `${process.pid.toString(36)}${Math.random().toString(36).slice(2, 5)}`;
    try {
      await Deno.mkdir(labFolder(id), { mode: 0o700 });
      return id;
    } catch (error) {
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
      if (wanted !== undefined || attempt > 20) {
        throw new Error(`Cannot make lab "${id}" as there is one of that name`);
      }
    }
  }
}

/** Writes a record, whole or not at all. */
export async function saveRecord(record: LabRecord): Promise<void> {
  const path = `${labFolder(record.id)}/lab.json`;
  await Deno.writeTextFile(`${path}.new`, JSON.stringify(record));
  await Deno.rename(`${path}.new`, path);
}

/** @throws {Error} where there is no such lab */
export async function loadRecord(id: string): Promise<LabRecord> {
  try {
    return JSON.parse(await Deno.readTextFile(`${labFolder(id)}/lab.json`));
  } catch (cause) {
    throw new Error(`Cannot find lab "${id}": make it with "up"`, { cause });
  }
}

/** Every lab of this machine that has a record. */
export async function listRecords(): Promise<LabRecord[]> {
  const records: LabRecord[] = [];
  try {
    for await (const { name } of Deno.readDir(RUN_FOLDER)) {
      if (name === "bin") continue;
      try {
        records.push(await loadRecord(name));
      } catch {
        // Being made or removed just now.
      }
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return records;
}

/** Ends and removes everything of a lab, in whatever state it is; nothing of anybody else's. */
export async function removeLab(record: LabRecord): Promise<void> {
  const namespaces = nodesOf(record.options).map((node) => namespaceOf(record.id, node));
  await removeNamespaces(namespaces);
  if (record.emulator && lives(record.emulator)) {
    try {
      Deno.kill(record.emulator.pid, "SIGTERM");
    } catch {
      // Ended meanwhile.
    }
  }
  await Deno.remove(labFolder(record.id), { recursive: true }).catch(() => {});
}

/** Removes the labs whose process died without doing so. */
export async function removeStaleLabs(): Promise<string[]> {
  const stale = (await listRecords()).filter(({ owner }) => owner !== null && !lives(owner));
  await Promise.all(stale.map(removeLab));
  return stale.map(({ id }) => id);
}
