/**
 * Reading a peer's certificate, synchronously, as it happens in the middle of a QUIC handshake.
 * @module
 */
import { X509Certificate } from "node:crypto";
import type { UnixMillis } from "../core/mod.ts";
import { pinOf } from "./key_pair.ts";
import { type Identity, parseServerName } from "./server_name.ts";

/** What a certificate says of its holder. Whether the CA signed it, TLS has checked (or {@linkcode isSignedBy} does). */
export interface PeerIdentity extends Identity {
  /** SHA-256 of the public key, base64url. */
  readonly pin: string;
  readonly notBefore: UnixMillis;
  readonly notAfter: UnixMillis;
}

/** The largest certificate that we look at. Ours have about 600 bytes. */
const MAX_CERTIFICATE_BYTES = 8192;

/**
 * Who a certificate speaks for. Total: any bytes that are not a certificate of ours give `undefined`.
 *
 * @param der X.509 v3 in DER (RFC 5280 §4.1)
 */
export function parsePeerCertificate(der: Uint8Array): PeerIdentity | undefined {
  // A SEQUENCE, so that PEM text is not taken too: there is one way to write a certificate here.
  if (der.length > MAX_CERTIFICATE_BYTES || der[0] !== 0x30) return undefined;
  try {
    const certificate = new X509Certificate(der);
    const names = certificate.subjectAltName;
    if (!names?.startsWith("DNS:") || certificate.ca) return undefined;
    // The whole field is one name of ours: no second name, and no separator, can hide in it.
    const identity = parseServerName(names.slice(4));
    if (!identity || certificate.subject !== `CN=${identity.name}`) return undefined;
    const notBefore = Date.parse(certificate.validFrom);
    const notAfter = Date.parse(certificate.validTo);
    if (!(notBefore < notAfter)) return undefined;
    const publicKey = certificate.publicKey.export({ type: "spki", format: "der" });
    return { ...identity, pin: pinOf(publicKey), notBefore, notAfter };
  } catch {
    return undefined;
  }
}

/**
 * Did this CA sign that certificate? Total. TLS checks it by itself; this is for files and for what comes over HTTPS.
 *
 * @param der the certificate, DER
 * @param caDer the CA's certificate, DER
 */
export function isSignedBy(der: Uint8Array, caDer: Uint8Array): boolean {
  try {
    const ca = new X509Certificate(caDer);
    const certificate = new X509Certificate(der);
    return ca.ca && certificate.checkIssued(ca) && certificate.verify(ca.publicKey);
  } catch {
    return false;
  }
}
