/**
 * The real mac, for tests of codecs.
 * @module
 */
import { createHmac } from "node:crypto";
import type { Bytes } from "../../src/core/bytes.ts";

/** HMAC-SHA-256 cut to 16 bytes. */
export function hmac(key: Uint8Array, bytes: Uint8Array): Bytes {
  return new Uint8Array(createHmac("sha256", key).update(bytes).digest()).slice(0, 16);
}
