/**
 * Who may offer what, and who may open what. Nothing is allowed unless it stands here.
 * @module
 */
import type { Name } from "../identity/mod.ts";
import type { ClientKind } from "../identity/schemas.ts";
import type { Database } from "./database.ts";

const SQL = {
  agent: {
    list: "SELECT service AS name FROM grants WHERE agent = ? ORDER BY 1",
    holders: "SELECT agent AS name FROM grants WHERE service = ? ORDER BY 1",
    has: "SELECT 1 FROM grants WHERE agent = ? AND service = ?",
    add: "INSERT OR IGNORE INTO grants (agent, service) VALUES (?, ?)",
    remove: "DELETE FROM grants WHERE agent = ? AND service = ?",
    clear: "DELETE FROM grants WHERE agent = ?",
  },
  connector: {
    list: "SELECT service AS name FROM offers WHERE connector = ? ORDER BY 1",
    holders: "SELECT connector AS name FROM offers WHERE service = ? ORDER BY 1",
    has: "SELECT 1 FROM offers WHERE connector = ? AND service = ?",
    add: "INSERT OR IGNORE INTO offers (connector, service) VALUES (?, ?)",
    remove: "DELETE FROM offers WHERE connector = ? AND service = ?",
    clear: "DELETE FROM offers WHERE connector = ?",
  },
} as const;

/** What one client may open (agent) or offer (connector), in order. */
export function servicesOf(database: Database, kind: ClientKind, name: Name): Name[] {
  return database.all(SQL[kind].list, name).map((row) => row.name as Name);
}

/** Which clients of a kind may open or offer a service, in order. */
export function holdersOf(database: Database, kind: ClientKind, service: Name): Name[] {
  return database.all(SQL[kind].holders, service).map((row) => row.name as Name);
}

/** May this client open or offer that service? */
export function hasService(
  database: Database,
  client: { kind: ClientKind; name: Name },
  service: Name,
): boolean {
  return database.get(SQL[client.kind].has, client.name, service) !== undefined;
}

/** Adds services; those that are there stay. */
export function addServices(
  database: Database,
  client: { kind: ClientKind; name: Name },
  services: readonly Name[],
): void {
  for (const service of services) database.run(SQL[client.kind].add, client.name, service);
}

/** Removes services; how many there were. */
export function removeServices(
  database: Database,
  client: { kind: ClientKind; name: Name },
  services: readonly Name[],
): number {
  let removed = 0;
  for (const service of services) {
    removed += database.run(SQL[client.kind].remove, client.name, service);
  }
  return removed;
}

/** Removes all of a client's services. */
export function clearServices(database: Database, kind: ClientKind, name: Name): void {
  database.run(SQL[kind].clear, name);
}
