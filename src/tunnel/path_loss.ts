/**
 * What is done besides moving when the direct path falls silent, is dead, or begins from somewhere else.
 * @module
 */
import type { Address } from "../core/mod.ts";
import { sourceTowards } from "../sockets/mod.ts";
import { Detour } from "./detour.ts";
import { isRelayed } from "./sealed.ts";
import type { Tunnel } from "./tunnel.ts";

/** See the module's head. */
export class PathLoss {
  readonly #tunnel: Tunnel;
  readonly #detour: Detour;
  /** Nothing has come on the direct path for a while. */
  #silent = false;
  /** From where the direct path in use begins, as far as the system tells. */
  #source: string | null | undefined;
  /** Agent: the path that it leaves is dead. */
  urgent = false;

  constructor(tunnel: Tunnel) {
    this.#tunnel = tunnel;
    this.#detour = new Detour(tunnel.connection, (packet) => tunnel.egress.sendSealed(packet));
  }

  /** Does what goes along the direct path leave from another address than when the tunnel moved there? */
  get elsewhere(): boolean {
    const { peer } = this.#tunnel.connection;
    return !isRelayed(peer) && sourceTowards(peer) !== this.#source;
  }

  /** The direct path is silent. */
  silent(): void {
    this.#silent = true;
    if (this.#tunnel.end === "connector") this.#detour.start();
  }

  /** It has answered. */
  heard(): void {
    this.#silent = false;
  }

  /** The tunnel has moved there. */
  moved(peer: Address): void {
    const { end, egress, connection } = this.#tunnel;
    this.#detour.stop();
    if (!isRelayed(peer)) {
      this.#silent = false;
      this.#source = sourceTowards(peer);
    } else if (end === "agent" ? this.urgent : this.#silent) {
      // The agent knows that the path it left is dead, the connector has to suppose so of a silent one.
      egress.repeatRelayed();
      connection.leftPathDied();
    }
  }

  stop(): void {
    this.#detour.stop();
  }
}
