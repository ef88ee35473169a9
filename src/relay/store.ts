/**
 * What the relay must not forget: who belongs to the network, who may open what, invites, and who did what.
 * One SQLite file; every change is one transaction; commands may change it beside a running relay.
 * @module
 */
import * as v from "valibot";
import { type Bytes, type HostPort, type UnixMillis, UserError } from "../core/mod.ts";
import type { Name, StateFolder } from "../identity/mod.ts";
import { type ClientKind, formatRelays, MAX_SERVICES, RelaysSchema } from "../identity/schemas.ts";
import { appendAudit, type AuditEvent, latestAudit } from "./audit_log.ts";
import { Database, type Row } from "./database.ts";
import {
  addInvite,
  type InviteRequest,
  openInvites,
  type RedeemRequest,
  type Redemption,
  type StoredInvite,
  useInvite,
  voidInvites,
} from "./invite_book.ts";
import {
  addServices,
  clearServices,
  hasService,
  holdersOf,
  removeServices,
  servicesOf,
} from "./service_book.ts";
import { type Claim, refusalOf, type Standing } from "./standing.ts";

export type { Claim, Standing } from "./standing.ts";

/** The file's name in the relay's state folder. */
export const STORE_FILE = "relay.sqlite";

/** A connector or an agent that has joined. */
export interface StoredIdentity {
  readonly kind: ClientKind;
  readonly name: Name;
  /** SHA-256 of its public key, base64url. */
  readonly pin: string;
  readonly created: UnixMillis;
  /** When it was revoked; `null`: it is not. */
  readonly revoked: UnixMillis | null;
  /** When its latest certificate ends; `null`: none was issued yet. */
  readonly certificateExpires: UnixMillis | null;
}

/** Who acts, and when; for the audit log. */
export interface Act {
  readonly now: UnixMillis;
  /** @default "operator" */
  readonly actor?: string;
}

/** The relay's store. Synchronous, as SQLite is. */
export class RelayStore {
  #database: Database;
  #changes = 0;

  private constructor(database: Database) {
    this.#database = database;
  }

  /**
   * Opens the store of a relay's state folder.
   *
   * @param options.create make it where it is missing, @default false
   * @param options.check read all of it for damage, @default false
   * @throws {StateError} `missing`, `corrupt`, `newer`, `read-only`
   */
  static open(
    folder: StateFolder,
    options: { create?: boolean; check?: boolean } = {},
  ): RelayStore {
    return new RelayStore(Database.open(folder.file(STORE_FILE), options));
  }

  /** Closes the file; idempotent. */
  close(): void {
    this.#database.close();
  }

  /** Disposes of it. */
  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * A number that changes whenever the store may have changed, by this process or another. Asking costs microseconds:
   * a running relay asks every second, and reads its policy again when the number is another.
   */
  version(): number {
    return this.#database.dataVersion() + this.#changes;
  }

  /**
   * Makes an invite and answers its secret; only the hash is kept.
   *
   * @throws {UserError} where one of that name has joined already, or too many wait
   * @throws {RangeError} where `ttl` or the number of services is out of bounds
   */
  createInvite(request: InviteRequest & Act): { secret: Bytes; expires: UnixMillis } {
    const { kind, name, services, now, ttl } = request;
    checkServices(services.length, `invite ${kind} "${name}"`);
    return this.#change(() => {
      const known = this.identityOf(kind, name);
      if (known && known.revoked === null) {
        throw new UserError(`Cannot invite ${kind} "${name}" as it has joined already`, {
          next: `Take another name, or revoke it first: postern revoke ${kind} ${name}`,
        });
      }
      const secret = addInvite(this.#database, request);
      this.#audit(request, "invite", `${kind} ${name}: ${services.join(" ")}`);
      return { secret, expires: now + ttl };
    });
  }

  /**
   * Uses an invite: the key with this pin is from now on that name's. Once; but the same key may ask again, as the
   * answer may have been lost.
   *
   * @throws {EnrolmentRefusal} `unknown-invite`, `invite-used`, `invite-expired`, `bad-request`, `revoked`, `other-key`
   */
  redeemInvite(request: RedeemRequest): Redemption {
    return this.#change(() => {
      const invite = useInvite(this.#database, request);
      const { kind, name, services } = invite;
      if (invite.again) {
        this.#requireGood({ ...invite, pin: request.pin });
        return invite;
      }
      this.#database.run(
        `INSERT INTO identities (kind, name, pin, created) VALUES (?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET pin = excluded.pin, created = excluded.created,
           revoked = NULL, certificate_expires = NULL`,
        kind,
        name,
        request.pin,
        request.now,
      );
      clearServices(this.#database, kind, name);
      addServices(this.#database, { kind, name }, services);
      this.#audit({ now: request.now, actor: `${kind} ${name}` }, "redeem", services.join(" "));
      return invite;
    });
  }

  /** Invites that wait to be redeemed. */
  openInvites(now: UnixMillis): StoredInvite[] {
    return openInvites(this.#database, now);
  }

  /** One identity; `undefined` where none has joined by that name. */
  identityOf(kind: ClientKind, name: Name): StoredIdentity | undefined {
    const row = this.#database.get(
      "SELECT * FROM identities WHERE kind = ? AND name = ?",
      kind,
      name,
    );
    return row && toIdentity(row);
  }

  /** All identities, revoked ones too, in order of kind and name. */
  listIdentities(): StoredIdentity[] {
    return this.#database.all("SELECT * FROM identities ORDER BY kind, name").map(toIdentity);
  }

  /** May the holder of this certificate go on? To be asked at every connection, resumed ones too. */
  standingOf(claim: Claim): Standing {
    const known = this.identityOf(claim.kind, claim.name);
    if (!known) return "unknown";
    if (known.pin !== claim.pin) return "other-key";
    return known.revoked === null ? "good" : "revoked";
  }

  /** Was this name revoked (and not invited anew)? */
  isRevoked(kind: ClientKind, name: Name): boolean {
    return (this.identityOf(kind, name)?.revoked ?? null) !== null;
  }

  /**
   * Takes everything from an identity, and makes a waiting invite for it void.
   *
   * @returns what there was: a joined `identity`, only a waiting `invite`, or nothing (`undefined`)
   */
  revoke(kind: ClientKind, name: Name, act: Act): "identity" | "invite" | undefined {
    return this.#change(() => {
      const invites = voidInvites(this.#database, kind, name);
      const revoked = this.#database.run(
        "UPDATE identities SET revoked = ? WHERE kind = ? AND name = ? AND revoked IS NULL",
        act.now,
        kind,
        name,
      );
      if (revoked === 0 && invites === 0) return undefined;
      clearServices(this.#database, kind, name);
      this.#audit(act, "revoke", `${kind} ${name}`);
      return revoked > 0 ? "identity" : "invite";
    });
  }

  /** Notes that a certificate was issued. @throws {EnrolmentRefusal} where the identity is not in good standing */
  certificateIssued(claim: Claim, options: { expires: UnixMillis; now: UnixMillis }): void {
    this.#change(() => {
      this.#requireGood(claim);
      this.#database.run(
        "UPDATE identities SET certificate_expires = ? WHERE kind = ? AND name = ?",
        options.expires,
        claim.kind,
        claim.name,
      );
      this.#audit(
        { now: options.now, actor: `${claim.kind} ${claim.name}` },
        "certificate",
        `until ${new Date(options.expires).toISOString()}`,
      );
    });
  }

  #requireGood(claim: Claim): void {
    const standing = this.standingOf(claim);
    if (standing !== "good") throw refusalOf(standing, claim);
  }

  /** Lets an agent open services. @throws {UserError} where there is no such agent */
  grant(agent: Name, services: readonly Name[], act: Act): void {
    this.#addServices("agent", agent, services, { ...act, event: "grant" });
  }

  /** Takes grants back; how many there were. */
  ungrant(agent: Name, services: readonly Name[], act: Act): number {
    return this.#removeServices("agent", agent, services, { ...act, event: "ungrant" });
  }

  /** Lets a connector offer services. @throws {UserError} where there is no such connector */
  offer(connector: Name, services: readonly Name[], act: Act): void {
    this.#addServices("connector", connector, services, { ...act, event: "offer" });
  }

  /** Takes the right to offer back; how many there were. */
  withdraw(connector: Name, services: readonly Name[], act: Act): number {
    return this.#removeServices("connector", connector, services, { ...act, event: "withdraw" });
  }

  /** What an agent may open, in order. */
  grantsOf(agent: Name): Name[] {
    return servicesOf(this.#database, "agent", agent);
  }

  /** Who may open a service, in order. */
  agentsGranted(service: Name): Name[] {
    return holdersOf(this.#database, "agent", service);
  }

  /** May this agent open that service? */
  isGranted(agent: Name, service: Name): boolean {
    return hasService(this.#database, { kind: "agent", name: agent }, service);
  }

  /** What a connector may offer, in order. */
  offersOf(connector: Name): Name[] {
    return servicesOf(this.#database, "connector", connector);
  }

  /** Who may offer a service, in order. */
  connectorsOffering(service: Name): Name[] {
    return holdersOf(this.#database, "connector", service);
  }

  /** What a client of either kind may offer or open, in order. */
  servicesOf(kind: ClientKind, name: Name): Name[] {
    return servicesOf(this.#database, kind, name);
  }

  /** Keys of the connectors that offer any of these services: for an agent's invite. */
  pinsOffering(services: readonly Name[]): { name: Name; pin: string }[] {
    const names = new Set(services.flatMap((service) => this.connectorsOffering(service)));
    const pins = [];
    for (const name of [...names].sort()) {
      const known = this.identityOf("connector", name);
      if (known && known.revoked === null) pins.push({ name, pin: known.pin });
    }
    return pins;
  }

  /** The latest events, the newest first. @param options.limit @default 100 */
  auditLog(options: { limit?: number } = {}): AuditEvent[] {
    return latestAudit(this.#database, options.limit ?? 100);
  }

  /** Writes an event that is no change of the store (a session, a refusal). */
  audit(event: AuditEvent): void {
    this.#database.transaction(() => appendAudit(this.#database, event));
  }

  /** How others reach the relay, as its last start said; empty before that. */
  publicAddresses(): readonly HostPort[] {
    const text = this.#database.get("SELECT value FROM meta WHERE key = 'public'")?.value;
    if (text === undefined) return [];
    const parsed = v.safeParse(RelaysSchema, JSON.parse(String(text)));
    return parsed.success ? parsed.output : [];
  }

  /** Remembers how others reach the relay, for invites made by other processes. */
  setPublicAddresses(addresses: readonly HostPort[]): void {
    const text = JSON.stringify(formatRelays(addresses));
    if (JSON.stringify(formatRelays(this.publicAddresses())) === text) return;
    this.#database.transaction(() =>
      this.#database.run(
        "INSERT INTO meta (key, value) VALUES ('public', ?) ON CONFLICT DO UPDATE SET value = excluded.value",
        text,
      )
    );
  }

  #addServices(
    kind: ClientKind,
    name: Name,
    services: readonly Name[],
    act: Act & { event: string },
  ): void {
    this.#change(() => {
      const verb = kind === "agent" ? "grant to agent" : "let connector";
      const known = this.identityOf(kind, name);
      if (!known || known.revoked !== null) {
        throw new UserError(
          `Cannot ${verb} "${name}" as ${known ? "it is revoked" : "none of that name has joined"}`,
          { next: "See who has joined: postern identities" },
        );
      }
      addServices(this.#database, { kind, name }, services);
      checkServices(this.servicesOf(kind, name).length, `${verb} "${name}"`);
      this.#audit(act, act.event, `${kind} ${name}: ${services.join(" ")}`);
    });
  }

  #removeServices(
    kind: ClientKind,
    name: Name,
    services: readonly Name[],
    act: Act & { event: string },
  ): number {
    return this.#change(() => {
      const removed = removeServices(this.#database, { kind, name }, services);
      if (removed > 0) this.#audit(act, act.event, `${kind} ${name}: ${services.join(" ")}`);
      return removed;
    });
  }

  #audit(act: Act, event: string, detail: string): void {
    appendAudit(this.#database, { at: act.now, actor: act.actor ?? "operator", event, detail });
  }

  #change<Result>(work: () => Result): Result {
    const result = this.#database.transaction(work);
    this.#changes++;
    return result;
  }
}

function checkServices(count: number, action: string): void {
  if (count > MAX_SERVICES) {
    throw new RangeError(
      `Cannot ${action} with ${count} services: expected at most ${MAX_SERVICES}`,
    );
  }
}

function toIdentity(row: Row): StoredIdentity {
  return {
    kind: row.kind as ClientKind,
    name: row.name as Name,
    pin: String(row.pin),
    created: Number(row.created),
    revoked: row.revoked === null ? null : Number(row.revoked),
    certificateExpires: row.certificate_expires === null ? null : Number(row.certificate_expires),
  };
}
