/**
 * Every message of the control connection, in both directions. A field that we do not know is left out, so that a
 * newer peer may add some; a type that we do not know is refused.
 *
 * ```
 * client                          relay
 *   | hello, register, connect ...  |     all in the first flight, as early data where there is a ticket
 *   |------------------------------>|
 *   |   welcome, registered         |
 *   |<------------------------------|
 *   |   incoming (to the connector), then granted (to the agent), or refused
 *   |<------------------------------|
 *   | ping / pong both ways; policy, revoked, disconnected, draining from the relay
 * ```
 * @module
 */
import * as v from "valibot";
import {
  AgentGrantsSchema,
  Base64Url16Schema,
  Base64Url32Schema,
  ClientKindSchema,
  CounterSchema,
  DurationSchema,
  Id8Schema,
  NameSchema,
  ObservedSchema,
  PeersSchema,
  PemSchema,
  PortsSchema,
  ServerNameSchema,
  ServicesSchema,
  TextSchema,
  UnixMillisSchema,
} from "./fields.ts";

/** The version of this protocol. A peer of another version is refused with both versions named. */
export const PROTOCOL_VERSION = 1;

/** Why a connection ends, for programs; `message` says it for people. */
export const ERROR_CODES = [
  /** The two ends speak different versions. */
  "version",
  /** Something that is no message, or not one that may come now. */
  "protocol",
  /** The client's identity was revoked or is unknown. */
  "revoked",
  /** A newer connection of the same identity took over. */
  "replaced",
  /** A bound is reached. */
  "too-many",
  /** The relay is about to stop. */
  "draining",
  /** The other end has said nothing for too long. */
  "silent",
  /** Anything else; also any code that we do not know. */
  "internal",
] as const;
/** One of {@linkcode ERROR_CODES}. */
export type ErrorCode = typeof ERROR_CODES[number];

/** Why a relay does not open a tunnel. */
export const REFUSED_REASONS = [
  "unknown-service",
  "not-granted",
  "offline",
  "tunnel-clash",
  "too-many",
  "draining",
  /** Any reason that we do not know. */
  "unavailable",
] as const;
/** One of {@linkcode REFUSED_REASONS}. */
export type RefusedReason = typeof REFUSED_REASONS[number];

/** Why the relay forgets a tunnel that it opened. */
export const DISCONNECTED_REASONS = [
  /** The other end asked for it; also any reason that we do not know. */
  "closed",
  /** The other end has been away from the relay for too long. A direct path may still live. */
  "offline",
  /** The other end's process is a new one and knows nothing of the tunnel. */
  "restarted",
  /** The other end was revoked. */
  "revoked",
  /** No service is granted any more. */
  "not-granted",
] as const;
/** One of {@linkcode DISCONNECTED_REASONS}. */
export type DisconnectedReason = typeof DISCONNECTED_REASONS[number];

const PingSchema = v.object({ type: v.literal("ping"), id: CounterSchema });
const PongSchema = v.object({ type: v.literal("pong"), id: CounterSchema });

/** Schemas of what a client sends, by type. */
export const CLIENT_SCHEMAS = {
  /**
   * Always first. `nonce` and `issuedAt` (on the relay's clock, null where that is unknown) are for the replay
   * guard; `instance` tells a restarted process from a reconnecting one; `attempt` grows with every connection of
   * a process, so that of two connections of one process the relay knows the newer.
   */
  hello: v.object({
    type: v.literal("hello"),
    version: v.literal(PROTOCOL_VERSION),
    software: TextSchema,
    nonce: Base64Url16Schema,
    issuedAt: v.nullable(UnixMillisSchema),
    instance: Id8Schema,
    attempt: CounterSchema,
  }),
  /** Connector: what it offers; replaces what it offered before. */
  register: v.object({
    type: v.literal("register"),
    services: ServicesSchema,
    /** Where the P2P socket is seen; said again when that changes. */
    observed: v.optional(ObservedSchema, []),
  }),
  /**
   * Connector, when it comes back: agents whose tunnels it still has. Answered by policy with what each may open now,
   * for grants may have changed, and a tunnel on a direct path may have outlived its place in the relay's memory.
   */
  review: v.object({ type: v.literal("review"), agents: PeersSchema }),
  /**
   * Agent: open a tunnel with an id of its own choice, to the connector named, or to any that offers the service.
   * `resume` says that the tunnel has lived before (this or the relay's last life).
   */
  connect: v.object({
    type: v.literal("connect"),
    request: CounterSchema,
    service: NameSchema,
    tunnelId: Id8Schema,
    connector: v.optional(v.nullable(NameSchema), null),
    resume: v.optional(v.boolean("true or false"), false),
    /** Where the P2P socket is seen, so that the other end can open its NAT before the tunnel is there. */
    observed: v.optional(ObservedSchema, []),
  }),
  /** Where the P2P socket is seen has become known, or changed: the other ends of live tunnels hear of it. */
  observed: v.object({ type: v.literal("observed"), addresses: ObservedSchema }),
  /** Either end: this tunnel is over. */
  disconnect: v.object({ type: v.literal("disconnect"), tunnelId: Id8Schema }),
  /** A certificate request made with the key in use. */
  renew: v.object({ type: v.literal("renew"), csr: PemSchema }),
  ping: PingSchema,
  pong: PongSchema,
};

/** Schemas of what a relay sends, by type. */
export const RELAY_SCHEMAS = {
  /**
   * Answers hello. `now` is the relay's clock; `observeKey` and `observePorts` serve address discovery; `services`
   * is what this agent may open (the first 256 by name) or this connector was invited to offer; early data older than `maxEarlyAgeMs` is
   * served only after the handshake; `early` is what became of hello, as far as it came as early data.
   */
  welcome: v.object({
    type: v.literal("welcome"),
    version: v.literal(PROTOCOL_VERSION),
    relay: NameSchema,
    networkId: Id8Schema,
    now: UnixMillisSchema,
    observeKey: v.object({ id: Id8Schema, key: Base64Url16Schema }, "a key with its id"),
    observePorts: PortsSchema,
    services: ServicesSchema,
    maxEarlyAgeMs: DurationSchema,
    early: v.optional(
      v.picklist(["accepted", "refused", "none"], `"accepted", "refused" or "none"`),
      "none",
    ),
  }),
  /** Answers register: what the connector offers from now on, and what it was never invited to offer. */
  registered: v.object({
    type: v.literal("registered"),
    services: ServicesSchema,
    refused: v.optional(ServicesSchema, []),
  }),
  /** To a connector: this agent comes, and may open these. Sent again for a tunnel that is resumed. */
  incoming: v.object({
    type: v.literal("incoming"),
    tunnelId: Id8Schema,
    agent: NameSchema,
    /** Base64url SHA-256 of the agent's public key (SPKI). */
    pin: Base64Url32Schema,
    services: ServicesSchema,
    resume: v.optional(v.boolean("true or false"), false),
    /** Where the agent's P2P socket is seen. */
    observed: v.optional(ObservedSchema, []),
  }),
  /** To an agent: the tunnel is open. `alternatives` are other live connectors with that service. */
  granted: v.object({
    type: v.literal("granted"),
    request: CounterSchema,
    tunnelId: Id8Schema,
    connector: NameSchema,
    serverName: ServerNameSchema,
    /** Base64url SHA-256 of the connector's public key (SPKI). */
    pin: Base64Url32Schema,
    services: ServicesSchema,
    alternatives: v.optional(PeersSchema, []),
    /** Where the connector's P2P socket is seen. */
    observed: v.optional(ObservedSchema, []),
  }),
  /** To an agent: no tunnel. */
  refused: v.object({
    type: v.literal("refused"),
    request: CounterSchema,
    reason: v.fallback(v.picklist(REFUSED_REASONS), "unavailable"),
    message: TextSchema,
  }),
  /**
   * Grants changed. `services`: as in welcome, null where it did not change. `agents` (to a connector): each entry
   * replaces what was known of that agent; agents not listed did not change.
   */
  policy: v.object({
    type: v.literal("policy"),
    services: v.optional(v.nullable(ServicesSchema), null),
    agents: v.optional(AgentGrantsSchema, []),
  }),
  /** This identity (perhaps your own) may do nothing any more. */
  revoked: v.object({ type: v.literal("revoked"), kind: ClientKindSchema, name: NameSchema }),
  /** Answers renew: the certificate, or why not. */
  certificate: v.object({
    type: v.literal("certificate"),
    certificate: v.nullable(PemSchema),
    message: v.optional(v.nullable(TextSchema), null),
  }),
  /** Where the other end's P2P socket is seen has become known, or changed. */
  seen: v.object({
    type: v.literal("seen"),
    tunnelId: Id8Schema,
    observed: ObservedSchema,
  }),
  /** The relay has forgotten this tunnel. */
  disconnected: v.object({
    type: v.literal("disconnected"),
    tunnelId: Id8Schema,
    reason: v.fallback(v.picklist(DISCONNECTED_REASONS), "closed"),
  }),
  /** The relay stops in `graceMs`; it opens no tunnel until then. */
  draining: v.object({ type: v.literal("draining"), graceMs: DurationSchema }),
  ping: PingSchema,
  pong: PongSchema,
  /** Always last: the relay closes the connection. */
  error: v.object({
    type: v.literal("error"),
    code: v.fallback(v.picklist(ERROR_CODES), "internal"),
    message: TextSchema,
  }),
};

/** Who has a control connection. */
export type ClientKind = v.InferOutput<typeof ClientKindSchema>;
/** A message by its type, client to relay. */
export type ClientMessageOf<Type extends keyof typeof CLIENT_SCHEMAS> = v.InferOutput<
  (typeof CLIENT_SCHEMAS)[Type]
>;
/** A message by its type, relay to client. */
export type RelayMessageOf<Type extends keyof typeof RELAY_SCHEMAS> = v.InferOutput<
  (typeof RELAY_SCHEMAS)[Type]
>;
/** Anything that a client sends. */
export type ClientMessage = ClientMessageOf<keyof typeof CLIENT_SCHEMAS>;
/** Anything that a relay sends. */
export type RelayMessage = RelayMessageOf<keyof typeof RELAY_SCHEMAS>;
