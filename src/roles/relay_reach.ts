/**
 * Where the relay is, which of its addresses this machine has a way to, and what a change of that means for the connection.
 * @module
 */
import type { Address, HostPort } from "../core/mod.ts";
import { reachableOf } from "./reachable.ts";
import { resolveHost } from "./resolve_host.ts";

/** What {@linkcode RelayReach.find} finds. */
export interface Findings {
  /** Race these; maybe none. Called before `find` returns where nobody has to be asked. */
  readonly found: (addresses: readonly Address[]) => void;
  /** The relay is elsewhere, too: find anew, unless what was found has led to it. */
  readonly elsewhere: () => void;
}

/** See the module's head. */
export class RelayReach {
  /** Every address at which the relay may be reached, as last resolved. */
  addresses: readonly Address[] = [];
  /** The relay has welcomed us at least once. */
  served = false;
  readonly #resolve: () => Promise<Address[]>;
  /** It was there, and nothing was tried there since. */
  #good = false;
  /** Those that are raced, or were. */
  #raced: readonly Address[] = [];

  /** @param relays its names or addresses, as they are now */
  constructor(relays: () => readonly HostPort[], resolve = resolveHost) {
    this.#resolve = async () => (await Promise.all(relays().map((relay) => resolve(relay)))).flat();
  }

  /** The relay has welcomed us at one of its addresses. */
  welcomed(): void {
    this.#good = this.served = true;
  }

  /**
   * After a connection that was good the relay is most probably where it was, so whoever comes back first waits for no name server,
   * which would ask another in its turn; what that says meanwhile counts where it is new.
   */
  find({ found, elsewhere }: Findings): void {
    const before = this.#good ? this.addresses : [];
    this.#good = false;
    if (before.length > 0) found(this.#race(before));
    void this.#resolve().then((addresses) => {
      if (addresses.length > 0) this.addresses = addresses;
      if (before.length === 0) return found(this.#race(addresses));
      const known = new Set(before.map(({ key }) => key));
      if (addresses.some(({ key }) => !known.has(key))) elsewhere();
    });
  }

  /** Where none can be reached, what we know of that may be wrong. */
  #race(addresses: readonly Address[]): readonly Address[] {
    this.#raced = reachableOf(addresses);
    return this.#raced.length > 0 ? this.#raced : addresses;
  }

  /**
   * The network has changed. `lost`: no way leads to `peer` any more, but to another; with none to any of them, it is better to
   * wait for one to come back than to give up what may live on. `anew`: nothing of what is raced can be won any more; else a race
   * goes on, as families come back one after the other.
   */
  changed(peer: Address | undefined): { lost: boolean; anew: boolean } {
    const reachable = new Set(reachableOf(this.addresses).map(({ key }) => key));
    return {
      lost: peer !== undefined && reachable.size > 0 && !reachable.has(peer.key),
      anew: !this.#raced.some(({ key }) => reachable.has(key)),
    };
  }
}
