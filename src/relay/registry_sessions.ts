/**
 * Who is connected just now, and which connectors offer which service.
 * @module
 */
import type { Address } from "../core/mod.ts";
import type { ClientKind } from "../control/messages.ts";
import type { SeenAddresses } from "./seen_addresses.ts";

/** A control connection, numbered by the role. */
export type SessionId = number;

/** Who is at the other end, from its certificate. */
export interface SessionIdentity {
  readonly kind: ClientKind;
  readonly name: string;
  /** Base64url SHA-256 of its public key (SPKI). */
  readonly pin: string;
  /** The server name in its certificate. */
  readonly serverName: string;
}

/** A client that is connected. Only the registry changes it. */
export interface RegistrySession {
  readonly id: SessionId;
  readonly identity: SessionIdentity;
  /** From its hello: the process, and which of the process's connections. */
  readonly instance: string;
  readonly attempt: number;
  address: Address;
  /** Connector: what it wants to offer, whether or not it may; undefined before it has registered. */
  wanted: ReadonlySet<string> | undefined;
  /** Connector: what it offers. */
  offered: ReadonlySet<string>;
  /** Where its P2P socket is seen. */
  readonly seen: SeenAddresses;
  /** What it was last told that it may open or offer, as one text. */
  told: string;
}

/** `agent:alice`: one key for who it is. */
export function partyKey({ kind, name }: { kind: ClientKind; name: string }): string {
  return `${kind}:${name}`;
}

/** Connected clients by session, by identity, and by the service that they offer. */
export class SessionTable {
  readonly #byId = new Map<SessionId, RegistrySession>();
  readonly #byParty = new Map<string, RegistrySession>();
  readonly #offering = new Map<string, Set<RegistrySession>>();

  get size(): number {
    return this.#byId.size;
  }

  get(id: SessionId): RegistrySession | undefined {
    return this.#byId.get(id);
  }

  /** The session of an identity. */
  of(kind: ClientKind, name: string): RegistrySession | undefined {
    return this.#byParty.get(partyKey({ kind, name }));
  }

  /** Connectors that offer a service now. */
  offering(service: string): ReadonlySet<RegistrySession> {
    return this.#offering.get(service) ?? new Set();
  }

  [Symbol.iterator](): Iterator<RegistrySession> {
    return this.#byId.values();
  }

  add(session: RegistrySession): void {
    this.#byId.set(session.id, session);
    this.#byParty.set(partyKey(session.identity), session);
  }

  remove(session: RegistrySession): void {
    this.setOffered(session, new Set());
    this.#byId.delete(session.id);
    const key = partyKey(session.identity);
    if (this.#byParty.get(key) === session) this.#byParty.delete(key);
  }

  /** Changes what a connector offers. @returns whether anything changed */
  setOffered(session: RegistrySession, offered: ReadonlySet<string>): boolean {
    const changed = session.offered.symmetricDifference(offered);
    session.offered = offered;
    for (const service of changed) {
      const connectors = this.#offering.get(service) ?? new Set();
      if (offered.has(service)) connectors.add(session);
      else connectors.delete(session);
      if (connectors.size > 0) this.#offering.set(service, connectors);
      else this.#offering.delete(service);
    }
    return changed.size > 0;
  }
}
