/**
 * Invites as the relay keeps them: by the hash of their secret, single use, expiring.
 * @module
 */
import { type Bytes, type UnixMillis, UserError } from "../core/mod.ts";
import { INVITE_SECRET_BYTES, inviteHash, type Name } from "../identity/mod.ts";
import type { ClientKind } from "../identity/schemas.ts";
import type { Database, Row } from "./database.ts";
import { EnrolmentRefusal } from "./enrolment_refusal.ts";

const DAY: UnixMillis = 86_400_000;

/** A token in a drawer is a key under the mat: 30 days at most. */
export const MAX_INVITE_TTL: UnixMillis = 30 * DAY;
/** Invites that wait to be redeemed: far more than anyone hands out, and a bound for a script gone wild. */
export const MAX_OPEN_INVITES = 10_000;
/** Old invites are kept this long, so that "used" and "expired" can be told from "unknown". */
const KEEP_OLD: UnixMillis = 30 * DAY;

/** An invite as it is listed; its secret is known to nobody but its holder. */
export interface StoredInvite {
  readonly kind: ClientKind;
  readonly name: Name;
  readonly services: readonly Name[];
  readonly created: UnixMillis;
  readonly expires: UnixMillis;
  readonly usedAt: UnixMillis | null;
}

/** For whom an invite is made. */
export interface InviteRequest {
  readonly kind: ClientKind;
  readonly name: Name;
  readonly services: readonly Name[];
  readonly now: UnixMillis;
  /** Milliseconds until it expires, at most {@linkcode MAX_INVITE_TTL}. */
  readonly ttl: UnixMillis;
}

/** Makes an invite inside a transaction; one for the same name that waits is void from now on. */
export function addInvite(database: Database, request: InviteRequest): Bytes {
  const { kind, name, services, now, ttl } = request;
  if (!(ttl > 0 && ttl <= MAX_INVITE_TTL)) {
    throw new RangeError(
      `Cannot make an invite for ${ttl / 1000} s: expected more than 0 and at most 30 days`,
    );
  }
  database.run("DELETE FROM invites WHERE kind = ? AND name = ? AND used_at IS NULL", kind, name);
  database.run("DELETE FROM invites WHERE expires < ?", now - KEEP_OLD);
  const open = database.get("SELECT count(*) AS n FROM invites WHERE used_at IS NULL")?.n;
  if (Number(open) >= MAX_OPEN_INVITES) {
    throw new UserError(
      `Cannot make an invite as ${MAX_OPEN_INVITES} wait to be redeemed already`,
      {
        next: "Wait until some have been redeemed or have expired",
      },
    );
  }
  const secret = crypto.getRandomValues(new Uint8Array(INVITE_SECRET_BYTES));
  database.run(
    "INSERT INTO invites (secret_hash, kind, name, services, created, expires) VALUES (?, ?, ?, ?, ?, ?)",
    inviteHash(secret),
    kind,
    name,
    JSON.stringify(services),
    now,
    now + ttl,
  );
  return secret;
}

/** Who redeems what. */
export interface RedeemRequest {
  readonly secret: Uint8Array;
  /** The name in the certificate request. */
  readonly name: Name;
  /** SHA-256 of the public key in the certificate request, base64url. */
  readonly pin: string;
  readonly now: UnixMillis;
}

/** An invite that was just used, or was used by the same key before (`again`: its answer may have been lost). */
export interface Redemption extends StoredInvite {
  readonly again: boolean;
}

/**
 * Uses an invite inside a transaction: of two that try, the second sees what the first did.
 *
 * @throws {EnrolmentRefusal} `unknown-invite`, `invite-used`, `invite-expired`, `bad-request`
 */
export function useInvite(database: Database, request: RedeemRequest): Redemption {
  const { secret, name, pin, now } = request;
  const hash = inviteHash(secret);
  const row = database.get("SELECT * FROM invites WHERE secret_hash = ?", hash);
  if (!row) {
    throw new EnrolmentRefusal(
      "unknown-invite",
      "this invite is not known here: it is another relay's, or a newer one took its place",
    );
  }
  const invite = toInvite(row);
  if (invite.name !== name) {
    throw new EnrolmentRefusal("bad-request", `the request is for another name than the invite`);
  }
  if (invite.usedAt !== null) {
    if (row.used_by_pin === pin) return { ...invite, again: true };
    throw new EnrolmentRefusal("invite-used", "this invite has been used already");
  }
  if (invite.expires <= now) {
    throw new EnrolmentRefusal("invite-expired", "this invite has expired");
  }
  database.run(
    "UPDATE invites SET used_at = ?, used_by_pin = ? WHERE secret_hash = ?",
    now,
    pin,
    hash,
  );
  return { ...invite, usedAt: now, again: false };
}

/** Makes the waiting invites for a name void; how many there were. */
export function voidInvites(database: Database, kind: ClientKind, name: Name): number {
  return database.run(
    "DELETE FROM invites WHERE kind = ? AND name = ? AND used_at IS NULL",
    kind,
    name,
  );
}

/** Invites that wait to be redeemed. */
export function openInvites(database: Database, now: UnixMillis): StoredInvite[] {
  return database.all(
    "SELECT * FROM invites WHERE used_at IS NULL AND expires > ? ORDER BY created",
    now,
  ).map(toInvite);
}

function toInvite(row: Row): StoredInvite {
  return {
    kind: row.kind as ClientKind,
    name: row.name as Name,
    services: JSON.parse(String(row.services)) as Name[],
    created: Number(row.created),
    expires: Number(row.expires),
    usedAt: row.used_at === null ? null : Number(row.used_at),
  };
}
