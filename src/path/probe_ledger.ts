/**
 * Which probes of ours may still be answered, and which of the other end's we have heard.
 * @module
 */
import { toHex } from "../core/bytes.ts";
import type { Millis } from "../core/clock.ts";
import type { RandomBytes } from "../qad/mod.ts";
import { PROBE_TXID_BYTES } from "./probe_codec.ts";

/** Probes that may still be answered; the oldest gives way, its answer is then ignored. */
const MAX_ASKED = 512;
/** Entries (two for each of the peer's probes) kept to find replays out; an older replay makes one useless pair. */
const MAX_HEARD = 1024;

/** A probe of ours. */
export interface Asked {
  /** The way it went, as `pathKey` says it; `undefined` where it went to many (a guess). */
  readonly way: string | undefined;
  readonly size: number;
  readonly sentAt: Millis;
}

function bound(table: Map<string, unknown> | Set<string>, max: number): void {
  while (table.size > max) table.delete(table.keys().next().value!);
}

/** The memory of one puncher for transaction ids. */
export class ProbeLedger {
  #random: RandomBytes;
  #asked = new Map<string, Asked>();
  #heard = new Set<string>();

  constructor(options: { random: RandomBytes }) {
    this.#random = options.random;
  }

  /** A new transaction id for this probe. */
  ask(asked: Asked): string {
    const txid = toHex(this.#random(PROBE_TXID_BYTES));
    this.#asked.set(txid, asked);
    bound(this.#asked, MAX_ASKED);
    return txid;
  }

  /** The probe that an answer from this way answers, once; a guess may be answered from any number of ways. */
  answered(txid: string, way: string): Asked | undefined {
    const asked = this.#asked.get(txid);
    if (!asked || (asked.way !== undefined && asked.way !== way)) return undefined;
    if (asked.way !== undefined) this.#asked.delete(txid);
    return asked;
  }

  /** Notes a probe of the other end: is it new here, repeated on this way, or heard on another way before? */
  hear(txid: string, way: string): "new" | "repeated" | "elsewhere" {
    const here = `${txid} ${way}`;
    if (this.#heard.has(here)) return "repeated";
    const before = this.#heard.has(txid);
    this.#heard.add(txid).add(here);
    bound(this.#heard, MAX_HEARD);
    return before ? "elsewhere" : "new";
  }
}
