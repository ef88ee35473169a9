/**
 * PEM (RFC 7468): one labelled block of base64.
 * @module
 */
import type { Bytes } from "../core/mod.ts";

/** The labels that we write and read. */
export type PemLabel = "CERTIFICATE" | "PRIVATE KEY" | "CERTIFICATE REQUEST";

/** DER to PEM, in lines of 64 characters (RFC 7468 §2). */
export function encodePem(label: PemLabel, der: Uint8Array): string {
  const lines = der.toBase64().match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

/** The first block with this label, or `undefined` where there is none or it is not base64. */
export function decodePem(label: PemLabel, text: string): Bytes | undefined {
  const begin = `-----BEGIN ${label}-----`;
  const start = text.indexOf(begin);
  if (start < 0) return undefined;
  const end = text.indexOf(`-----END ${label}-----`, start);
  if (end < 0) return undefined;
  try {
    return Uint8Array.fromBase64(text.slice(start + begin.length, end));
  } catch {
    return undefined;
  }
}
