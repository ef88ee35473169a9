/**
 * The table of half-open handshakes, by the network that began them; oldest first. Pure.
 * @module
 */

/** One of them. */
export interface HalfOpenEntry {
  /** Its network. */
  readonly prefix: string;
  /** When it began, in milliseconds. */
  readonly since: number;
  /** Ends it, and takes it out of the table. */
  readonly late: () => void;
}

/** See the module's head. Whoever adds to it holds the bound. */
export class HalfOpen {
  readonly #all = new Set<HalfOpenEntry>();
  readonly #byPrefix = new Map<string, Set<HalfOpenEntry>>();

  get size(): number {
    return this.#all.size;
  }

  /** How many a network has. */
  of(prefix: string): number {
    return this.#byPrefix.get(prefix)?.size ?? 0;
  }

  add(entry: HalfOpenEntry): void {
    this.#all.add(entry);
    const own = this.#byPrefix.get(entry.prefix);
    if (own) own.add(entry);
    else this.#byPrefix.set(entry.prefix, new Set([entry]));
  }

  /** False where it was not there. */
  delete(entry: HalfOpenEntry): boolean {
    if (!this.#all.delete(entry)) return false;
    const own = this.#byPrefix.get(entry.prefix)!;
    own.delete(entry);
    if (own.size === 0) this.#byPrefix.delete(entry.prefix);
    return true;
  }

  /**
   * Ends the oldest handshake of the network that has most, if that has at least two more than a newcomer's, which has `own`;
   * or else the oldest of all, if it began before `before`. Answers whether there is room now.
   */
  makeRoom(own: number, before: number): boolean {
    let heaviest: Set<HalfOpenEntry> | undefined;
    for (const entries of this.#byPrefix.values()) {
      if (entries.size > (heaviest?.size ?? own + 1)) heaviest = entries;
    }
    const [oldest] = heaviest ?? this.#all;
    if (!oldest || (!heaviest && oldest.since >= before)) return false;
    oldest.late();
    return true;
  }
}
