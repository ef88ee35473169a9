/**
 * A role that has grown begins anew, in its own process, while nobody uses it.
 *
 * The runtime keeps 48 bytes for each packet that the QUIC engine makes, and never gives them back: 35 MiB with each GiB sent. So
 * connector and agent look at their own size now and then. When it has grown by much and no flow has been open for a while they end in
 * good order, as on SIGTERM, and the process runs the same command line again (execve): same process id, nothing for a service
 * manager to do. They come back from their state folder with the first packet; who asks meanwhile waits some tenths of a second.
 * @module
 */
import type { Logger } from "../core/mod.ts";
import { openLibc } from "../sockets/libc.ts";

const MIB = 2 ** 20;

/** When a role begins anew. */
export interface RenewalLimits {
  /** Bytes that it may have grown by. */
  readonly grown: number;
  /** For so long no flow has been open, in milliseconds. */
  readonly idleMs: number;
  /** Between looks, in milliseconds. */
  readonly lookMs: number;
}

/** 15 GiB sent, or so. A role that is idle for a minute at no time goes on growing. */
export const RENEWAL_LIMITS: RenewalLimits = {
  grown: 512 * MIB,
  idleMs: 60_000,
  lookMs: 20_000,
};

/** For tests: bytes of growth, in MiB; whatever else has to be waited for is short then. */
export const RENEWAL_VARIABLE = "POSTERN_RENEW_MIB";

/** The limits that the environment wants. */
export function renewalLimits(mib: string | undefined): RenewalLimits {
  const grown = Number(mib);
  if (mib === undefined || !Number.isFinite(grown) || grown < 0) return RENEWAL_LIMITS;
  return { grown: grown * MIB, idleMs: 1_000, lookMs: 200 };
}

/** What a watch needs. */
export interface RenewalOptions {
  readonly limits: RenewalLimits;
  readonly log: Logger;
  /** Ends the role in good order. */
  readonly end: () => void;
  /** The process's size in bytes. @default its resident memory */
  readonly size?: () => number;
}

/** Watches a role's size. */
export class Renewal {
  readonly #options: RenewalOptions;
  #timer: ReturnType<typeof setInterval> | undefined;
  #due = false;

  constructor(options: RenewalOptions) {
    this.#options = options;
  }

  /** The role has ended to begin anew. */
  get due(): boolean {
    return this.#due;
  }

  /** Begins to look; `flows` tells how many are open. */
  watch(flows: () => number): void {
    const { limits, log, end, size = () => Deno.memoryUsage().rss } = this.#options;
    const first = size();
    let idleSince: number | undefined;
    this.#timer = setInterval(() => {
      const now = performance.now();
      idleSince = flows() > 0 ? undefined : idleSince ?? now;
      const grown = size() - first;
      if (grown < limits.grown || idleSince === undefined || now - idleSince < limits.idleMs) {
        return;
      }
      this.stop();
      this.#due = true;
      log.info("beginning anew", {
        reason: `the process has grown by ${Math.round(grown / MIB)} MiB and nobody uses it`,
      });
      end();
    }, limits.lookMs);
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

/** Can a process here become another one? */
export function canBeginAnew(): boolean {
  return execv() !== undefined;
}

/**
 * Runs this process's own command line again, in this process. Does not come back.
 *
 * @throws {Error} where the system refuses
 */
export function beginAnew(): never {
  const words = Deno.readTextFileSync("/proc/self/cmdline").split("\0").slice(0, -1);
  const encoder = new TextEncoder();
  // Kept until the call: the array below holds addresses only.
  const texts = words.map((word) => encoder.encode(`${word}\0`));
  const pointers = texts.map((text) => Deno.UnsafePointer.value(Deno.UnsafePointer.of(text)));
  const argv = BigUint64Array.from([...pointers, 0n]);
  execv()?.(encoder.encode("/proc/self/exe\0"), argv);
  throw new Error(`Cannot begin anew as the system has refused to run ${texts.length} words again`);
}

function execv() {
  return openLibc({ execv: { parameters: ["buffer", "buffer"], result: "i32" } })?.execv;
}
