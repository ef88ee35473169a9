/**
 * Which address each peer wrote to last. Pure: no I/O.
 * @module
 */

/**
 * Peers remembered. At the bound the one remembered longest makes room; when it writes again, it is remembered anew, and
 * until then it hears from the address that the system prefers. A few MiB at most, whatever arrives.
 */
export const MAX_PEERS = 16_384;

/** From a peer's key to `T`, the way by which it asked. */
export class AskedTable<T> {
  readonly #ways = new Map<string, T>();
  readonly #max: number;
  // Trains from one peer often come one after another.
  #lastPeer = "";
  #lastWay: T | undefined;

  constructor({ max = MAX_PEERS } = {}) {
    this.#max = max;
  }

  get size(): number {
    return this.#ways.size;
  }

  /** `peer` wrote by `way`; `undefined`: by none that is to be remembered. */
  note(peer: string, way: T | undefined): void {
    if (peer === this.#lastPeer && way === this.#lastWay) return;
    this.#lastPeer = peer;
    this.#lastWay = way;
    if (way === undefined) {
      this.#ways.delete(peer);
      return;
    }
    const known = this.#ways.get(peer);
    if (known === way) return;
    if (known === undefined && this.#ways.size >= this.#max) {
      for (const oldest of this.#ways.keys()) {
        this.#ways.delete(oldest);
        break;
      }
    }
    this.#ways.set(peer, way);
  }

  /** By which way to answer. */
  wayTo(peer: string): T | undefined {
    return this.#ways.get(peer);
  }

  /** `way` is no more. */
  forget(way: T): void {
    for (const [peer, known] of this.#ways) if (known === way) this.#ways.delete(peer);
    this.#lastPeer = "";
    this.#lastWay = undefined;
  }
}
