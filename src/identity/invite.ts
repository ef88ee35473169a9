/**
 * Invite tokens: one line that lets one machine join a network once.
 *
 * ```text
 * postern1_ base64url( length[4]  json-length[2]  json  ca-certificate  crc32[4] )
 * ```
 * `length` counts the bytes from json-length to ca-certificate, so that a token cut short is told from a garbled one;
 * numbers are big-endian. The CA's certificate (DER) is what the relay is checked against before the secret is shown.
 * @module
 */
import * as v from "valibot";
import {
  type Bytes,
  concatBytes,
  decodeUtf8Strict,
  encodeUtf8,
  fromBase64Url,
  type HostPort,
  toBase64Url,
  type UnixMillis,
  UserError,
} from "../core/mod.ts";
import { crc32 } from "./crc32.ts";
import type { Name } from "./name.ts";
import {
  type ClientKind,
  ClientKindSchema,
  formatRelays,
  MAX_RELAY_ADDRESSES,
  MAX_SERVICES,
  NameSchema,
  PinSchema,
  RelaysSchema,
  ServicesSchema,
} from "./schemas.ts";

/** Bytes of an invite's secret: 128 bits, far beyond guessing for the hour that it lives. */
export const INVITE_SECRET_BYTES = 16;

/** A token has about 1 KiB, and 40 KiB with the most of everything; nothing longer than this is looked at. */
export const MAX_TOKEN_LENGTH = 65_536;

const PREFIX = "postern1_";

/** Keys of connectors that one token carries; what is beyond them is learnt at first contact. */
export const MAX_INVITE_PINS = 64;

/** What a token says. */
export interface Invite {
  readonly kind: ClientKind;
  /** The name that the machine will have. */
  readonly name: Name;
  /** Where the relay is, the likeliest first; hosts may be names. */
  readonly relays: readonly HostPort[];
  /** What a connector will offer, or an agent may open. */
  readonly services: readonly Name[];
  /** {@linkcode INVITE_SECRET_BYTES}; the relay keeps only its SHA-256. */
  readonly secret: Bytes;
  readonly expires: UnixMillis;
  /** Keys of connectors that are already known. */
  readonly pins: readonly { readonly name: Name; readonly pin: string }[];
  /** The CA's certificate, DER. */
  readonly ca: Bytes;
}

/** Why a text is no token: not one at all, of a newer version, not all of it, or changed on the way. */
export type InviteRefusal = "not-a-token" | "newer" | "cut" | "garbled";

const SecretSchema = v.pipe(
  v.string(),
  v.transform(fromBase64Url),
  v.custom<Bytes>((value) => value instanceof Uint8Array && value.length === INVITE_SECRET_BYTES),
);
const InviteSchema = v.object({
  kind: ClientKindSchema,
  name: NameSchema,
  relays: RelaysSchema,
  services: ServicesSchema,
  secret: SecretSchema,
  expires: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  pins: v.pipe(
    v.array(v.object({ name: NameSchema, pin: PinSchema })),
    v.maxLength(MAX_INVITE_PINS),
  ),
});

/**
 * Writes a token.
 *
 * @throws {RangeError} where a list is longer than a token may hold (16 relays, 256 services, 64 pins) or empty of relays
 */
export function encodeInvite(invite: Invite): string {
  for (
    const [what, length, least, most] of [
      ["relay addresses", invite.relays.length, 1, MAX_RELAY_ADDRESSES],
      ["services", invite.services.length, 0, MAX_SERVICES],
      ["pins", invite.pins.length, 0, MAX_INVITE_PINS],
    ] as const
  ) {
    if (length < least || length > most) {
      throw new RangeError(
        `Cannot make an invite with ${length} ${what}: expected ${least} to ${most}`,
      );
    }
  }
  const json = encodeUtf8(JSON.stringify({
    kind: invite.kind,
    name: invite.name,
    relays: formatRelays(invite.relays),
    services: invite.services,
    secret: toBase64Url(invite.secret),
    expires: invite.expires,
    pins: invite.pins,
  }));
  const jsonLength = new Uint8Array([json.length >> 8, json.length & 0xff]);
  const content = concatBytes(jsonLength, json, invite.ca);
  const token = new Uint8Array(4 + content.length + 4);
  const view = new DataView(token.buffer);
  view.setUint32(0, content.length);
  token.set(content, 4);
  view.setUint32(4 + content.length, crc32(content));
  return PREFIX + toBase64Url(token);
}

/**
 * Reads a token. Total: any text gives an invite or a typed refusal. White space is passed over anywhere, as mail
 * programs like to break long lines.
 */
export function decodeInvite(text: string): Invite | InviteRefusal {
  if (text.length > 2 * MAX_TOKEN_LENGTH) return "not-a-token";
  const token = text.replace(/\s+/g, "");
  const version = /^postern([1-9]\d{0,5})_/.exec(token)?.[1];
  if (version === undefined) {
    // The beginning of a prefix is a token cut very short.
    return token !== "" && PREFIX.startsWith(token) ? "cut" : "not-a-token";
  }
  if (version !== "1") return "newer";
  const encoded = token.slice(PREFIX.length);
  if (token.length > MAX_TOKEN_LENGTH || !/^[\w-]*$/.test(encoded)) return "garbled";
  // A cut may leave one character over, which is no whole byte.
  const bytes = fromBase64Url(encoded.length % 4 === 1 ? encoded.slice(0, -1) : encoded) ??
    // ... or bits over, which a strict decoder refuses: read what is whole.
    fromBase64Url(encoded.slice(0, encoded.length - encoded.length % 4));
  if (!bytes || bytes.length < 4) return "cut";
  const view = new DataView(bytes.buffer);
  const length = view.getUint32(0);
  if (length > MAX_TOKEN_LENGTH) return "garbled";
  if (bytes.length < 4 + length + 4) return "cut";
  const content = bytes.subarray(4, 4 + length);
  if (bytes.length > 4 + length + 4 || view.getUint32(4 + length) !== crc32(content)) {
    return "garbled";
  }
  return decodeContent(content) ?? "garbled";
}

function decodeContent(content: Bytes): Invite | undefined {
  if (content.length < 2) return undefined;
  const jsonLength = content[0]! << 8 | content[1]!;
  if (content.length < 2 + jsonLength) return undefined;
  const text = decodeUtf8Strict(content.subarray(2, 2 + jsonLength));
  if (text === undefined) return undefined;
  try {
    const parsed = v.safeParse(InviteSchema, JSON.parse(text));
    return parsed.success ? { ...parsed.output, ca: content.slice(2 + jsonLength) } : undefined;
  } catch {
    return undefined;
  }
}

const REFUSALS: Record<InviteRefusal, { why: string; next: string }> = {
  "not-a-token": {
    why: `it is no token: expected one line that begins with "${PREFIX}"`,
    next: "Give the whole line that `postern invite` printed",
  },
  newer: {
    why: "it was made by a newer version of Postern",
    next: "Update Postern on this machine to the relay's version",
  },
  cut: {
    why: "it is cut short: its end is missing",
    next: "Copy the whole line that `postern invite` printed",
  },
  garbled: {
    why: "it is garbled: its checksum does not match",
    next: "Copy the line that `postern invite` printed again, or pass it on as a file",
  },
};

/**
 * Reads a token for a person.
 *
 * @throws {UserError} saying which of the refusals it is, and what to do; never the token itself
 */
export function parseInvite(text: string): Invite {
  const invite = decodeInvite(text);
  if (typeof invite !== "string") return invite;
  const { why, next } = REFUSALS[invite];
  throw new UserError(`Cannot use this invite as ${why}`, { next });
}
