/**
 * Has our NAT given us another address? Then what the other end knows of us is wrong, and nothing of it reaches us.
 * @module
 */
import type { Candidate } from "../path/mod.ts";

/** Compares where the relay sees us with where it saw us before. */
export class Rebinding {
  #observed = new Map<4 | 6, string>();

  /** Families whose address is another one than before. Where it was not known before it is not another one. */
  changed(candidates: readonly Candidate[]): (4 | 6)[] {
    const before = this.#observed;
    const observed = candidates.filter(({ kind }) => kind === "observed");
    this.#observed = new Map(observed.map(({ address: { family, key } }) => [family, key]));
    return [...this.#observed].flatMap(([family, key]) =>
      (before.get(family) ?? key) === key ? [] : [family]
    );
  }
}
