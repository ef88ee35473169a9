/**
 * What the pure rooms want as arguments, from the runtime.
 * @module
 */
import { createHmac } from "node:crypto";
import { type Mac, MAC_BYTES, type RandomBytes } from "../qad/mod.ts";

/** HMAC-SHA-256 (RFC 2104), cut. */
export const hmac: Mac = (key, bytes) =>
  new Uint8Array(createHmac("sha256", key).update(bytes).digest().subarray(0, MAC_BYTES));

/** From the system's generator. */
export const randomBytes: RandomBytes = (length) => crypto.getRandomValues(new Uint8Array(length));
