/**
 * What is done besides moving when the direct path falls silent, is dead, or begins from somewhere else.
 * @module
 */
import type { Address, Millis } from "../core/mod.ts";
import { sourceTowards } from "../sockets/mod.ts";
import { Detour } from "./detour.ts";
import { isRelayed } from "./sealed.ts";
import type { Tunnel } from "./tunnel.ts";

/** Packets kept while the direct path is silent: no more come around, and whatever else comes shall not wait. */
const MAX_KEPT = 32;

/** After a move the first packets, of so many bytes, go again, after so many milliseconds each. */
const FIRST_BYTES = 2048;
const INSIST_MS: readonly Millis[] = [12, 15, 25];

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
  readonly #deliver: (packet: Uint8Array) => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Agent: what came around a silent path. */
  #kept: Uint8Array[] = [];

  /** @param deliver takes what came by way of the relay to the tunnel's connection */
  constructor(tunnel: Tunnel, deliver: (packet: Uint8Array) => void) {
    this.#tunnel = tunnel;
    this.#deliver = deliver;
    this.#detour = new Detour(tunnel.connection, {
      send: (packet) => tunnel.egress.sendSealed(packet),
      copy: (since) => tunnel.egress.copyRelayed(since),
      copyLast: (since) => tunnel.egress.copyLastRelayed(since),
    });
  }

  /** Does what goes along the direct path leave from another address than when the tunnel moved there? */
  get elsewhere(): boolean {
    const { peer } = this.#tunnel.connection;
    return !isRelayed(peer) && sourceTowards(peer) !== this.#source;
  }

  /** The direct path is silent, and has been for `quiet` milliseconds. */
  silent(quiet: Millis): void {
    this.#silent = true;
    if (this.#tunnel.end === "connector") this.#detour.start(quiet);
  }

  /** It has answered. */
  heard(): void {
    this.#silent = false;
    this.#release();
  }

  /** A packet of the tunnel's came by way of the relay. Answers whether it is kept for now: see `detour.ts`. */
  keeps(packet: Uint8Array): boolean {
    const { end, connection } = this.#tunnel;
    if (!this.#silent || end !== "agent" || isRelayed(connection.peer)) return false;
    if (this.#kept.length >= MAX_KEPT) {
      this.#silent = false;
      this.#release();
      return false;
    }
    this.#kept.push(packet.slice());
    return true;
  }

  #release(): void {
    for (const packet of this.#kept.splice(0)) this.#deliver(packet);
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
      this.#release();
      if (end === "agent") this.#insist();
      // First what says that we are here, and what came: the rest is worth less, and many packets.
      connection.leftPathDied();
      connection.hurry();
      egress.repeatRelayed();
    }
    this.#release();
  }

  /** Where our NAT was the reason, the relay may not know yet where we are, and drops what comes: so the first packets go again. */
  #insist(): void {
    const { connection, egress } = this.#tunnel;
    const { packetsIn, peer } = connection;
    egress.restartFlight(FIRST_BYTES);
    const again = (waits: readonly Millis[]) => {
      this.#timer = setTimeout(() => {
        const over = connection.packetsIn !== packetsIn || connection.peer !== peer;
        if (over || connection.closed) return egress.dropFlight();
        egress.resendFlight();
        if (waits.length > 1) again(waits.slice(1));
        else egress.dropFlight();
      }, waits[0]);
    };
    clearTimeout(this.#timer);
    again(INSIST_MS);
  }

  stop(): void {
    this.#detour.stop();
    clearTimeout(this.#timer);
  }
}
