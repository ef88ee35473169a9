/**
 * Making certificates: a network's CA, requests (PKCS#10), and the certificates that answer them.
 *
 * The library behind this costs 35 to 60 ms to load, so it is loaded only where something is made.
 * @module
 */
import { createHash, X509Certificate } from "node:crypto";
import { type Bytes, toHex, type UnixMillis } from "../core/mod.ts";
import {
  createKeyPair,
  KEY_ALGORITHM,
  type KeyPair,
  keyPairOf,
  SIGNATURE_ALGORITHM,
  toCryptoKeys,
} from "./key_pair.ts";
import { isName, type Name } from "./name.ts";
import { decodePem, encodePem } from "./pem.ts";
import { type Identity, type IdentityKind, serverNameOf } from "./server_name.ts";

const HOUR: UnixMillis = 3_600_000;
const DAY: UnixMillis = 24 * HOUR;

/** Ten years: a CA that expires takes its whole network with it, and nobody renews what they have forgotten. */
export const CA_LIFETIME: UnixMillis = 3650 * DAY;
/** Seven days: what a stolen key is good for where revocation cannot reach, and still a long weekend offline. */
export const LEAF_LIFETIME: UnixMillis = 7 * DAY;
/** Certificates begin one hour ago, as clocks on laptops are often minutes wrong and at times by one time zone's fold. */
export const CLOCK_SKEW: UnixMillis = HOUR;
/** Renewed when this share of the lifetime is left: two days and some, so a relay down for a day does no harm. */
export const RENEW_AT = 1 / 3;

/** A certificate authority, with its key. */
export interface CertificateAuthority {
  readonly networkId: string;
  readonly certificatePem: string;
  readonly privateKeyPem: string;
}

/** What a certificate request asks for, once its signature has been checked. */
export interface CertificateRequest {
  readonly name: Name;
  /** SPKI, DER. */
  readonly publicKey: Bytes;
}

function loadX509() {
  return import("@peculiar/x509");
}

/** 16 random bytes, as hex: more than the 64 bits that CAs owe (CA/Browser Forum BR §7.1), so no counter to keep. */
function randomSerial(): string {
  const serial = crypto.getRandomValues(new Uint8Array(16));
  // Serial numbers are positive (RFC 5280 §4.1.2.2), and with a set bit below the top none is shortened.
  serial[0] = (serial[0]! & 0x3f) | 0x40;
  return toHex(serial);
}

/** The network that a CA's public key (SPKI, DER) stands for. */
export function networkIdOf(caPublicKey: Uint8Array): string {
  return createHash("sha256").update(caPublicKey).digest("hex").slice(0, 16);
}

/**
 * The network of a CA certificate, or `undefined` where these bytes (DER) are no CA's certificate. Total.
 */
export function networkIdOfCertificate(caDer: Uint8Array): string | undefined {
  try {
    const certificate = new X509Certificate(caDer);
    if (!certificate.ca || !certificate.verify(certificate.publicKey)) return undefined;
    return networkIdOf(certificate.publicKey.export({ type: "spki", format: "der" }));
  } catch {
    return undefined;
  }
}

/**
 * Makes a network's CA: self-signed, for end certificates only (path length 0).
 *
 * @param options.keyPair the CA's key, where there is one: the network is then the one that had it, @default a new one
 */
export async function createCa(
  options: { now: UnixMillis; keyPair?: KeyPair },
): Promise<CertificateAuthority> {
  const x509 = await loadX509();
  const keyPair = options.keyPair ?? await createKeyPair();
  const keys = await toCryptoKeys(keyPair);
  const networkId = networkIdOf(keyPair.publicKey);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: randomSerial(),
    name: `CN=Postern network ${networkId}`,
    notBefore: new Date(options.now - CLOCK_SKEW),
    notAfter: new Date(options.now + CA_LIFETIME),
    signingAlgorithm: SIGNATURE_ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return {
    networkId,
    certificatePem: encodePem("CERTIFICATE", new Uint8Array(certificate.rawData)),
    privateKeyPem: keyPair.privateKeyPem,
  };
}

/** What goes into a certificate. */
export interface IssueOptions {
  readonly kind: IdentityKind;
  readonly name: Name;
  /** SPKI, DER. */
  readonly publicKey: Uint8Array;
  readonly now: UnixMillis;
  /** @default {@linkcode LEAF_LIFETIME} */
  readonly lifetime?: UnixMillis;
}

/** A certificate for this identity and public key, in PEM. */
export async function issueCertificate(
  ca: CertificateAuthority,
  options: IssueOptions,
): Promise<string> {
  const x509 = await loadX509();
  const { kind, name, now } = options;
  const caKeys = await toCryptoKeys(keyPairOf(ca.privateKeyPem));
  const publicKey = await crypto.subtle.importKey(
    "spki",
    Uint8Array.from(options.publicKey),
    KEY_ALGORITHM,
    true,
    ["verify"],
  );
  const identity: Identity = { kind, name, networkId: ca.networkId };
  // The relay only answers, the agent only calls; a connector calls the relay and answers the agent's tunnel.
  const usages = [
    ...(kind === "agent" ? [] : [x509.ExtendedKeyUsage.serverAuth]),
    ...(kind === "relay" ? [] : [x509.ExtendedKeyUsage.clientAuth]),
  ];
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    subject: `CN=${name}`,
    issuer: `CN=Postern network ${ca.networkId}`,
    notBefore: new Date(now - CLOCK_SKEW),
    notAfter: new Date(now + (options.lifetime ?? LEAF_LIFETIME)),
    signingAlgorithm: SIGNATURE_ALGORITHM,
    publicKey,
    signingKey: caKeys.privateKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension(usages, false),
      new x509.SubjectAlternativeNameExtension([{ type: "dns", value: serverNameOf(identity) }]),
      await x509.AuthorityKeyIdentifierExtension.create(caKeys.publicKey),
    ],
  });
  return encodePem("CERTIFICATE", new Uint8Array(certificate.rawData));
}

/** A request (PKCS#10, RFC 2986, in PEM) for a certificate: signed with the key itself, which proves that we hold it. */
export async function createCertificateRequest(
  keyPair: KeyPair,
  options: { name: Name },
): Promise<string> {
  const x509 = await loadX509();
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: `CN=${options.name}`,
    keys: await toCryptoKeys(keyPair),
    signingAlgorithm: SIGNATURE_ALGORITHM,
  });
  return encodePem("CERTIFICATE REQUEST", new Uint8Array(request.rawData));
}

/**
 * Reads a request and checks that its sender holds the key. Total: `undefined` for anything else than a request for
 * a P-256 key and a name of ours, signed by that key.
 */
export async function readCertificateRequest(pem: string): Promise<CertificateRequest | undefined> {
  const der = decodePem("CERTIFICATE REQUEST", pem);
  if (!der) return undefined;
  try {
    const x509 = await loadX509();
    const request = new x509.Pkcs10CertificateRequest(der);
    const name = request.subject.startsWith("CN=") ? request.subject.slice(3) : "";
    if (!isName(name)) return undefined;
    const publicKey = new Uint8Array(request.publicKey.rawData);
    // Importing refuses every other kind of key, and points that are not on the curve.
    await crypto.subtle.importKey("spki", publicKey, KEY_ALGORITHM, true, ["verify"]);
    if (!(await request.verify())) return undefined;
    return { name, publicKey };
  } catch {
    return undefined;
  }
}

/** When a certificate with these bounds wants to be renewed. */
export function renewalTime(bounds: { notBefore: UnixMillis; notAfter: UnixMillis }): UnixMillis {
  return bounds.notAfter - (bounds.notAfter - bounds.notBefore) * RENEW_AT;
}
