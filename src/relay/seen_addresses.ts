/**
 * Where a client's P2P socket is seen.
 *
 * The client says it, as soon as it knows; that takes it a round trip to the relay, and its word another half. But the relay has
 * seen the question before that: so of a family that the client has not spoken of yet, the address that it last asked from
 * counts. From its first word on only that does: whoever sends somebody's old question again from elsewhere moves nothing.
 * @module
 */
import { type Address, parseAddress } from "../core/mod.ts";

/** See the module's head. */
export class SeenAddresses {
  #said: readonly string[] = [];
  readonly #spokenOf = new Set<4 | 6>();
  readonly #asked = new Map<4 | 6, string>();

  /** All of them, to be told to the other ends of its tunnels. */
  get list(): string[] {
    const asked = [...this.#asked].filter(([family]) => !this.#spokenOf.has(family));
    return [...this.#said, ...asked.map(([, address]) => address)];
  }

  /** The client says where it is seen. @returns whether that changed anything */
  say(addresses: readonly string[]): boolean {
    return this.#changing(() => {
      this.#said = addresses;
      for (const text of addresses) {
        const family = parseAddress(text)?.family;
        if (family) this.#spokenOf.add(family);
      }
    });
  }

  /** The client's P2P socket has asked from there. @returns whether that changed anything */
  asked(from: Address): boolean {
    return this.#changing(() => this.#asked.set(from.family, from.key));
  }

  #changing(change: () => void): boolean {
    const before = this.list.join();
    change();
    return this.list.join() !== before;
  }
}
