/**
 * The parts that control messages are made of. Every text and list has a bound, so that a message that was read
 * can be kept; every schema's message says what is wanted, never what came (it may be a secret).
 * @module
 */
import * as v from "valibot";
import { parseAddress } from "../core/address.ts";
import { isName } from "../identity/name.ts";

/** Services in one list: offered by a connector, or told to an agent. Longer lists are refused. */
export const MAX_SERVICES = 256;

/** Names of agents or connectors in one list: with brackets and quotes 17 KiB at most. */
export const MAX_PEERS = 256;

/** Agents with their services in one message; the sender also sees to its length. */
export const MAX_AGENT_GRANTS = 64;

/** Characters in a text for people. */
const MAX_TEXT = 500;

/** Characters of PEM: a P-256 certificate takes under 2,000; RSA-4096 with a chain under 12,000. */
const MAX_PEM = 16_384;

/** Last instant that every runtime can show (ECMA-262, time values). */
const MAX_UNIX_MILLIS = 8_640_000_000_000_000;

function matching(pattern: RegExp, wanted: string) {
  return v.pipe(v.string(wanted), v.regex(pattern, wanted));
}

function integer(min: number, max: number, wanted: string) {
  return v.pipe(
    v.number(wanted),
    v.safeInteger(wanted),
    v.minValue(min, wanted),
    v.maxValue(max, wanted),
  );
}

function list<Item extends v.GenericSchema>(item: Item, max: number, wanted: string) {
  return v.pipe(v.array(item, wanted), v.maxLength(max, wanted));
}

/** A service, connector, agent or relay name. */
export const NameSchema = v.custom<string>(
  isName,
  "a name of 1 to 63 characters out of a-z, 0-9 and -",
);

/** 8 bytes: a tunnel, a key's name, a process. */
export const Id8Schema = matching(/^[0-9a-f]{16}$/, "16 lower-case hexadecimal digits");

/** 16 bytes, in the one spelling that stands for them (a replay guard compares text). */
export const Base64Url16Schema = matching(
  /^[A-Za-z0-9_-]{21}[AQgw]$/,
  "16 bytes as base64url",
);

/** 32 bytes, in the one spelling that stands for them. */
export const Base64Url32Schema = matching(
  /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/,
  "32 bytes as base64url",
);

/** A certificate's server name: DNS labels. */
export const ServerNameSchema = matching(/^[a-z0-9.-]{1,253}$/, "a server name");

/** Text for people and logs: one line. */
export const TextSchema = v.pipe(
  v.string("text"),
  v.maxLength(MAX_TEXT, `text of at most ${MAX_TEXT} characters`),
  v.regex(/^\P{Cc}*$/u, "text without control characters"),
);

/** A certificate or a certificate request. */
export const PemSchema = v.pipe(
  v.string("PEM text"),
  v.maxLength(MAX_PEM, `PEM text of at most ${MAX_PEM} characters`),
  v.regex(/^[\x20-\x7e\r\n]+$/, "PEM text"),
);

/** A counter that a peer chose: request, ping, attempt. */
export const CounterSchema = integer(0, Number.MAX_SAFE_INTEGER, "a whole number from 0");

/** Milliseconds since 1970. */
export const UnixMillisSchema = integer(0, MAX_UNIX_MILLIS, "milliseconds since 1970");

/** A duration in milliseconds, a day at most. */
export const DurationSchema = integer(0, 86_400_000, "milliseconds, a day at most");

/** UDP port. */
export const PortSchema = integer(1, 65_535, "a port from 1 to 65535");

/** Up to {@linkcode MAX_SERVICES} service names. */
export const ServicesSchema = list(
  NameSchema,
  MAX_SERVICES,
  `a list of at most ${MAX_SERVICES} names`,
);

/** Up to {@linkcode MAX_PEERS} agent or connector names. */
export const PeersSchema = list(NameSchema, MAX_PEERS, `a list of at most ${MAX_PEERS} names`);

/** A few ports. */
export const PortsSchema = list(PortSchema, 4, "a list of at most 4 ports");

/**
 * Public addresses of a P2P socket, as the relay itself has told them: `host:port`. Never an address of a LAN: those travel
 * inside the tunnel only.
 */
export const ObservedSchema = list(
  v.pipe(
    v.string("an address"),
    v.maxLength(60, "an address"),
    v.check((text) => parseAddress(text) !== undefined, "an IP address with a port"),
  ),
  4,
  "a list of at most 4 addresses",
);

/** Who has a control connection: everyone but the relay. */
export const ClientKindSchema = v.picklist(["agent", "connector"], `"agent" or "connector"`);

/** What agents may open at a connector. */
export const AgentGrantsSchema = list(
  v.object({ agent: NameSchema, services: ServicesSchema }, "an agent with its services"),
  MAX_AGENT_GRANTS,
  `a list of at most ${MAX_AGENT_GRANTS} agents`,
);
