/**
 * Who a certificate speaks for, as one DNS name: `<name>.<kind>.<network id>.postern.invalid`.
 *
 * Kind and network are part of the name that TLS checks, so that a connector's certificate can never pass as the
 * relay's, as another connector's, or as one of another network. `.invalid` never resolves (RFC 6761 §6.4).
 * @module
 */
import { isName, type Name } from "./name.ts";

/** The three roles that a certificate can speak for. */
export const IDENTITY_KINDS = ["relay", "connector", "agent"] as const;
/** One of {@linkcode IDENTITY_KINDS}. */
export type IdentityKind = typeof IDENTITY_KINDS[number];

/** One identity of one network. */
export interface Identity {
  readonly kind: IdentityKind;
  readonly name: Name;
  /** 16 hex digits: the first 8 bytes of the SHA-256 of the CA's public key (SPKI). */
  readonly networkId: string;
}

/** The name that every relay's certificate carries: a network has one relay. */
export const RELAY_NAME = "relay" as Name;

const SUFFIX = "postern.invalid";
const SERVER_NAME = new RegExp(
  `^([a-z0-9-]{1,63})\\.(${IDENTITY_KINDS.join("|")})\\.([0-9a-f]{16})\\.postern\\.invalid$`,
);

/** The DNS name in an identity's certificate, and what TLS must check it against. */
export function serverNameOf(identity: Identity): string {
  return `${identity.name}.${identity.kind}.${identity.networkId}.${SUFFIX}`;
}

/** Reads {@linkcode serverNameOf} back; `undefined` where the text is no such name. */
export function parseServerName(text: string): Identity | undefined {
  const match = SERVER_NAME.exec(text);
  if (!match || !isName(match[1])) return undefined;
  return { name: match[1], kind: match[2] as IdentityKind, networkId: match[3]! };
}

/** Is this a network id? */
export function isNetworkId(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{16}$/.test(value);
}
