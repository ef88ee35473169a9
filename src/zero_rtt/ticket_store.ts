/**
 * What a client keeps of its visits, so that the next one is early: one ticket per peer and network.
 *
 * Pure: the role reads and writes the file (mode 0600), and sets a file aside that {@linkcode TicketStore.parse} refuses.
 * @module
 */
import * as v from "valibot";
import { type Bytes, fromBase64Url, toBase64Url, type UnixMillis } from "../core/mod.ts";
import type { Parsed } from "./parsed.ts";

/** The longest that a ticket is kept, in milliseconds: 7 days (RFC 8446 §4.6.1). */
export const MAX_TICKET_AGE_MS = 7 * 24 * 3_600_000;

/** Tickets kept: more relays and connectors than one person uses. Beyond it the oldest goes. */
export const MAX_TICKETS = 256;

/** Bytes of one ticket, session and facts together. Sessions hold certificates and are 2 to 6 KiB. Larger: not kept. */
export const MAX_TICKET_BYTES = 16 * 1024;

/** The longest text that {@linkcode TicketStore.parse} looks at, in characters: every ticket full, in base64, and names. */
export const MAX_STORE_LENGTH = MAX_TICKETS * MAX_TICKET_BYTES * 2;

const name = v.pipe(v.string(), v.regex(/^[a-z0-9-]{1,63}$/));
const serverName = v.pipe(v.string(), v.minLength(1), v.maxLength(253));
const address = v.pipe(v.string(), v.minLength(1), v.maxLength(320));
const time = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const clockSchema = v.nullable(v.strictObject({
  offsetMs: v.pipe(v.number(), v.safeInteger()),
  uncertaintyMs: time,
  learnedAt: time,
}));

const relayFactsSchema = v.strictObject({
  kind: v.literal("relay"),
  /** `198.51.100.10:4433`: where it answered last. */
  address,
  serverName,
  clock: clockSchema,
  /** How to ask it where it sees us, before it has welcomed us again: key id and key in hexadecimal, its second ports. */
  observe: v.optional(v.strictObject({
    id: v.pipe(v.string(), v.regex(/^[0-9a-f]{16}$/)),
    key: v.pipe(v.string(), v.regex(/^[0-9a-f]{32}$/)),
    ports: v.pipe(
      v.array(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535))),
      v.maxLength(4),
    ),
  })),
});

const connectorFactsSchema = v.strictObject({
  kind: v.literal("connector"),
  serverName,
  /** SHA-256 of the public key that was pinned, base64url. */
  pin: v.pipe(v.string(), v.maxLength(64)),
  /** What it offered to this agent. */
  services: v.pipe(v.array(name), v.maxLength(256)),
  /** Those of them that must not travel early. */
  noEarlyServices: v.pipe(v.array(name), v.maxLength(256)),
  clock: clockSchema,
});

const factsSchema = v.variant("kind", [relayFactsSchema, connectorFactsSchema]);

const peerSchema = v.strictObject({
  kind: v.picklist(["relay", "connector"]),
  name,
  networkId: v.pipe(v.string(), v.regex(/^[A-Za-z0-9_.:-]{1,128}$/)),
});

const fileSchema = v.strictObject({
  version: v.literal(1),
  tickets: v.pipe(
    v.array(v.strictObject({
      peer: peerSchema,
      session: v.pipe(v.string(), v.minLength(1)),
      facts: factsSchema,
      createdAt: time,
      expiresAt: time,
    })),
    v.maxLength(MAX_TICKETS),
  ),
});

/** What an early return to a relay needs to know beforehand. */
export type RelayFacts = Readonly<v.InferOutput<typeof relayFactsSchema>>;
/** What an early tunnel to a connector needs to know beforehand. */
export type ConnectorFacts = Readonly<v.InferOutput<typeof connectorFactsSchema>>;
/** Either. */
export type TicketFacts = RelayFacts | ConnectorFacts;
/** Whose ticket it is. */
export type TicketPeer = Readonly<v.InferOutput<typeof peerSchema>>;

/** One kept ticket. */
export interface Ticket {
  readonly peer: TicketPeer;
  /** What the engine gave out, opaque. */
  readonly session: Bytes;
  readonly facts: TicketFacts;
  readonly createdAt: UnixMillis;
  readonly expiresAt: UnixMillis;
}

/** What becomes of a ticket that is put into the store; `unfit`: names or facts that could not be read back. */
export type PutResult = "kept" | "unfit" | "too-large" | "expired";

/** Tickets by peer, oldest first. */
export class TicketStore {
  readonly #tickets = new Map<string, Ticket>();
  #revision = 0;

  /** Changes whenever there is something new to write to the file. */
  get revision(): number {
    return this.#revision;
  }

  /** Never more than {@linkcode MAX_TICKETS}. */
  get size(): number {
    return this.#tickets.size;
  }

  /**
   * Keeps a ticket instead of the one before from that peer.
   *
   * @param lifetimeMs what the ticket itself says ({@linkcode sessionLifetime}); 7 days at most
   */
  put(
    ticket: { peer: TicketPeer; session: Uint8Array; facts: TicketFacts },
    options: { now: UnixMillis; lifetimeMs?: number | undefined },
  ): PutResult {
    const { peer, facts } = ticket;
    const lifetime = Math.min(options.lifetimeMs ?? MAX_TICKET_AGE_MS, MAX_TICKET_AGE_MS);
    if (!(lifetime > 0)) return "expired";
    if (!isFit(peer, facts)) return "unfit";
    if (ticketBytes(ticket.session, facts) > MAX_TICKET_BYTES) return "too-large";
    const key = keyOf(peer);
    this.#tickets.delete(key);
    this.#tickets.set(key, {
      peer,
      session: Uint8Array.from(ticket.session),
      facts,
      createdAt: options.now,
      expiresAt: options.now + lifetime,
    });
    for (const oldest of this.#tickets.keys()) {
      if (this.#tickets.size <= MAX_TICKETS) break;
      this.#tickets.delete(oldest);
    }
    this.#revision++;
    return "kept";
  }

  /** The peer's ticket, unless it has expired; an expired one is dropped. */
  get(peer: TicketPeer, now: UnixMillis): Ticket | undefined {
    const ticket = this.#tickets.get(keyOf(peer));
    if (!ticket || isLive(ticket, now)) return ticket;
    this.drop(peer);
    return undefined;
  }

  /** Connectors of a network that offered the service, the newest ticket first. */
  connectorsFor(service: string, options: { networkId: string; now: UnixMillis }): Ticket[] {
    return [...this.#tickets.values()].filter((ticket) =>
      ticket.facts.kind === "connector" && ticket.facts.services.includes(service) &&
      ticket.peer.networkId === options.networkId && isLive(ticket, options.now)
    ).reverse();
  }

  /** Writes other facts beside a ticket that stays (a new clock offset, say). False where there is none or they do not fit. */
  update(peer: TicketPeer, facts: TicketFacts): boolean {
    const key = keyOf(peer);
    const ticket = this.#tickets.get(key);
    if (!ticket || !isFit(peer, facts)) return false;
    if (ticketBytes(ticket.session, facts) > MAX_TICKET_BYTES) return false;
    this.#tickets.set(key, { ...ticket, facts });
    this.#revision++;
    return true;
  }

  /** Forgets a ticket: it was refused, or the peer's identity changed. */
  drop(peer: TicketPeer): boolean {
    const dropped = this.#tickets.delete(keyOf(peer));
    if (dropped) this.#revision++;
    return dropped;
  }

  /** Forgets what has expired. */
  prune(now: UnixMillis): void {
    for (const ticket of this.#tickets.values()) {
      if (!isLive(ticket, now)) this.drop(ticket.peer);
    }
  }

  /** The whole store as JSON, for a file of mode 0600. */
  serialize(): string {
    const tickets = [...this.#tickets.values()].map(({ session, ...rest }) => ({
      ...rest,
      session: toBase64Url(session),
    }));
    return JSON.stringify({ version: 1, tickets });
  }

  /** Reads {@linkcode TicketStore.serialize} back; total. Leaves out what has expired at `now`. */
  static parse(text: string, now: UnixMillis): Parsed<TicketStore> {
    if (text.length > MAX_STORE_LENGTH) {
      return refusal(`it has ${text.length} characters, not ${MAX_STORE_LENGTH} at most`);
    }
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch {
      // The engine's message quotes the text, and that is a secret.
      return refusal("it is not JSON");
    }
    const parsed = v.safeParse(fileSchema, json);
    if (!parsed.success) {
      return refusal(`${v.getDotPath(parsed.issues[0]) ?? "all of it"} is wrong`);
    }
    const store = new TicketStore();
    for (const { session: encoded, ...rest } of parsed.output.tickets) {
      const session = fromBase64Url(encoded);
      if (!session || ticketBytes(session, rest.facts) > MAX_TICKET_BYTES) {
        return refusal(`the session of "${rest.peer.name}" is wrong`);
      }
      if (rest.peer.kind !== rest.facts.kind) {
        return refusal(`the facts of "${rest.peer.name}" are of another kind`);
      }
      const ticket: Ticket = { ...rest, session };
      if (isLive(ticket, now)) store.#tickets.set(keyOf(ticket.peer), ticket);
    }
    return { ok: store };
  }
}

/** Names cannot hold a slash, so no two peers share a key. */
function keyOf(peer: TicketPeer): string {
  return `${peer.networkId}/${peer.kind}/${peer.name}`;
}

/** How far the wall clock may be set back before a ticket's age counts as unknown, in milliseconds. */
const CLOCK_SLACK_MS = 3_600_000;

/** A ticket that seems to live longer than any may comes from a clock that was ahead: nobody knows its age. */
function isLive(ticket: Ticket, now: UnixMillis): boolean {
  return now < ticket.expiresAt && ticket.expiresAt - now <= MAX_TICKET_AGE_MS + CLOCK_SLACK_MS;
}

function isFit(peer: TicketPeer, facts: TicketFacts): boolean {
  return peer.kind === facts.kind && v.is(peerSchema, peer) && v.is(factsSchema, facts);
}

function ticketBytes(session: Uint8Array, facts: TicketFacts): number {
  return session.length + JSON.stringify(facts).length;
}

function refusal(why: string): { refused: string } {
  return { refused: `Cannot read the ticket store as ${why}` };
}
