/**
 * Who did what, and when: kept beside what was done, in the same transaction.
 * @module
 */
import type { UnixMillis } from "../core/mod.ts";
import type { Database } from "./database.ts";

/** The latest 100,000 events are kept, about 10 MiB: years of a small network, and a bound for a busy one. */
export const MAX_AUDIT_EVENTS = 100_000;

/** One event. */
export interface AuditEvent {
  readonly at: UnixMillis;
  /** `operator`, `relay`, or `<kind> <name>`. */
  readonly actor: string;
  /** `invite`, `redeem`, `renew`, `grant`, `ungrant`, `offer`, `withdraw`, `revoke` … */
  readonly event: string;
  /** What it was about, in words. Never a key, a token or a payload. */
  readonly detail: string;
}

/** Writes an event, and drops the one that is then too old. Call it inside the transaction that does the thing. */
export function appendAudit(database: Database, event: AuditEvent): void {
  database.run(
    "INSERT INTO audit (at, actor, event, detail) VALUES (?, ?, ?, ?)",
    event.at,
    event.actor,
    event.event,
    event.detail,
  );
  database.run(
    `DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ${MAX_AUDIT_EVENTS}`,
  );
}

/** The latest events, the newest first. */
export function latestAudit(database: Database, limit: number): AuditEvent[] {
  return database.all("SELECT at, actor, event, detail FROM audit ORDER BY id DESC LIMIT ?", limit)
    .map((row) => ({
      at: Number(row.at),
      actor: String(row.actor),
      event: String(row.event),
      detail: String(row.detail),
    }));
}
