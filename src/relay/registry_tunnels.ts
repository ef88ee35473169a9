/**
 * The tunnels that the relay has introduced, by id and by each end, and how long those wait whose end is away.
 * @module
 */
import type { Millis } from "../core/mod.ts";
import type { ClientKind } from "../control/messages.ts";
import { partyKey, type SessionId } from "./registry_sessions.ts";

/** One tunnel. Only the registry changes it. */
export interface RegistryTunnel {
  /** 16 hexadecimal digits. */
  readonly id: string;
  readonly agent: string;
  readonly connector: string;
  /** The processes that hold its two ends. */
  readonly instances: Readonly<Record<ClientKind, string>>;
  /** For an agent that comes back while the connector is away. */
  readonly pin: string;
  readonly serverName: string;
  /** What the agent may open in it. */
  services: string[];
  /** The agent's session that asked for it: none while the agent is away or has not asked again. */
  askedBy: SessionId | undefined;
  /** When its agent first asked for it. */
  readonly since: Millis;
  /** The connector's session that was told of it. */
  toldTo: SessionId | undefined;
}

/** Tunnels, with an order of who is forgotten when. */
export class TunnelTable {
  readonly #byId = new Map<string, RegistryTunnel>();
  readonly #byParty = new Map<string, Set<RegistryTunnel>>();
  /** Tunnels with an end away -> when they are forgotten. As all wait equally long, the first is due first. */
  readonly #waiting = new Map<RegistryTunnel, Millis>();

  get size(): number {
    return this.#byId.size;
  }

  get(id: string): RegistryTunnel | undefined {
    return this.#byId.get(id);
  }

  /** All tunnels of one end, safe against changes while one walks them. */
  of(kind: ClientKind, name: string): RegistryTunnel[] {
    return [...this.#byParty.get(partyKey({ kind, name })) ?? []];
  }

  /** How many tunnels one end has. */
  count(kind: ClientKind, name: string): number {
    return this.#byParty.get(partyKey({ kind, name }))?.size ?? 0;
  }

  [Symbol.iterator](): Iterator<RegistryTunnel> {
    return this.#byId.values();
  }

  add(tunnel: RegistryTunnel): void {
    this.#byId.set(tunnel.id, tunnel);
    for (const key of ends(tunnel)) {
      const tunnels = this.#byParty.get(key) ?? new Set();
      tunnels.add(tunnel);
      this.#byParty.set(key, tunnels);
    }
  }

  remove(tunnel: RegistryTunnel): void {
    this.#byId.delete(tunnel.id);
    this.#waiting.delete(tunnel);
    for (const key of ends(tunnel)) {
      const tunnels = this.#byParty.get(key);
      tunnels?.delete(tunnel);
      if (tunnels?.size === 0) this.#byParty.delete(key);
    }
  }

  /** An end is away: forget the tunnel at `until` unless it comes back. Times given must not go back. */
  wait(tunnel: RegistryTunnel, until: Millis): void {
    this.#waiting.delete(tunnel);
    this.#waiting.set(tunnel, until);
  }

  /** Both ends are there. */
  stopWaiting(tunnel: RegistryTunnel): void {
    this.#waiting.delete(tunnel);
  }

  /** The tunnel to forget next, and when. */
  nextToForget(): readonly [RegistryTunnel, Millis] | undefined {
    return this.#waiting.entries().next().value;
  }
}

function ends(tunnel: RegistryTunnel): string[] {
  return [
    partyKey({ kind: "agent", name: tunnel.agent }),
    partyKey({ kind: "connector", name: tunnel.connector }),
  ];
}
