/**
 * The sockets from which a tunnel guesses ports, where a NAT maps per destination.
 * @module
 */
import type { SocketId } from "../path/mod.ts";
import type { DirectSockets } from "./direct_part.ts";

/** See the module's head. */
export class GuessSockets {
  readonly #sockets: DirectSockets;
  #open: SocketId[] = [];

  constructor(sockets: DirectSockets) {
    this.#sockets = sockets;
  }

  /** Opens so many; answers what could be had. */
  open(count: number): readonly SocketId[] {
    return this.#open = this.#sockets.open(count);
  }

  /** Closes them, but for one where that has found the way. */
  close(keep?: SocketId): void {
    const over = this.#open.filter((id) => id !== keep);
    this.#open = this.#open.filter((id) => id === keep);
    this.#sockets.close(over);
  }
}
