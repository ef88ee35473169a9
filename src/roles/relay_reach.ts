/**
 * Which of a relay's addresses this machine has a way to, and what a change of that means for the connection.
 * @module
 */
import type { Address } from "../core/mod.ts";
import { reachableOf } from "./reachable.ts";

/** See the module's head. */
export class RelayReach {
  /** Those that are raced, or were. */
  #raced: readonly Address[] = [];

  /** The addresses to race. Where none can be reached, what we know of that may be wrong. */
  race(addresses: readonly Address[]): readonly Address[] {
    this.#raced = reachableOf(addresses);
    return this.#raced.length > 0 ? this.#raced : addresses;
  }

  /**
   * The network has changed. `lost`: no way leads to `peer` any more, but to another; with none to any of them, it is better to
   * wait for one to come back than to give up what may live on. `anew`: nothing of what is raced can be won any more; else a race
   * goes on, as families come back one after the other.
   */
  changed(
    addresses: readonly Address[],
    peer: Address | undefined,
  ): { lost: boolean; anew: boolean } {
    const reachable = new Set(reachableOf(addresses).map(({ key }) => key));
    return {
      lost: peer !== undefined && reachable.size > 0 && !reachable.has(peer.key),
      anew: !this.#raced.some(({ key }) => reachable.has(key)),
    };
  }
}
