/**
 * Key pairs: ECDSA on P-256, which BoringSSL takes without being told, and WebCrypto makes everywhere.
 * @module
 */
import { createHash, createPrivateKey, createPublicKey } from "node:crypto";
import { type Bytes, toBase64Url } from "../core/mod.ts";
import { decodePem, encodePem } from "./pem.ts";

/** WebCrypto's name of our one kind of key. */
export const KEY_ALGORITHM = { name: "ECDSA", namedCurve: "P-256" } as const;
/** WebCrypto's name of our one kind of signature. */
export const SIGNATURE_ALGORITHM = { name: "ECDSA", hash: "SHA-256" } as const;

/** A key pair as it is kept: text for the private half (it goes to a file), bytes for the public one. */
export interface KeyPair {
  /** PKCS#8 (RFC 5958) in PEM. */
  readonly privateKeyPem: string;
  /** SubjectPublicKeyInfo (RFC 5280 §4.1.2.7) in DER. */
  readonly publicKey: Bytes;
}

/** Makes a key pair; it never leaves this process by itself. */
export async function createKeyPair(): Promise<KeyPair> {
  const keys = await crypto.subtle.generateKey(KEY_ALGORITHM, true, ["sign", "verify"]);
  return {
    privateKeyPem: encodePem(
      "PRIVATE KEY",
      new Uint8Array(await crypto.subtle.exportKey("pkcs8", keys.privateKey)),
    ),
    publicKey: new Uint8Array(await crypto.subtle.exportKey("spki", keys.publicKey)),
  };
}

/**
 * The key pair of a private key.
 *
 * @throws {SyntaxError} where the text is no P-256 private key
 */
export function keyPairOf(privateKeyPem: string): KeyPair {
  try {
    const key = createPrivateKey(privateKeyPem);
    if (key.asymmetricKeyType !== "ec" || key.asymmetricKeyDetails?.namedCurve !== "prime256v1") {
      throw new TypeError("not a P-256 key");
    }
    const publicKey = createPublicKey(privateKeyPem).export({ type: "spki", format: "der" });
    return { privateKeyPem, publicKey: Uint8Array.from(publicKey) };
  } catch (cause) {
    throw new SyntaxError("Cannot read a private key as it is not PKCS#8 with an EC key on P-256", {
      cause,
    });
  }
}

/** The same keys as WebCrypto wants them for signing. @throws {SyntaxError} as {@linkcode keyPairOf} */
export async function toCryptoKeys(keyPair: KeyPair): Promise<CryptoKeyPair> {
  const der = decodePem("PRIVATE KEY", keyPair.privateKeyPem);
  if (!der) throw new SyntaxError("Cannot read a private key as it is not PEM");
  return {
    privateKey: await crypto.subtle.importKey("pkcs8", der, KEY_ALGORITHM, false, ["sign"]),
    publicKey: await crypto.subtle.importKey("spki", keyPair.publicKey, KEY_ALGORITHM, true, [
      "verify",
    ]),
  };
}

/** A public key's pin: SHA-256 over its SPKI, in base64url (43 characters), as in RFC 7469 §2.4. */
export function pinOf(publicKey: Uint8Array): string {
  return toBase64Url(createHash("sha256").update(publicKey).digest());
}

/** Could this text be a pin? */
export function isPin(value: unknown): value is string {
  return typeof value === "string" && /^[A-Za-z0-9_-]{43}$/.test(value);
}
