/**
 * What the pure rooms take as arguments instead of reaching for it: macs and random bytes.
 * @module
 */

/** Bytes in every mac of ours: HMAC-SHA-256 (RFC 2104) cut to 16, enough against forgers who get one guess a packet. */
export const MAC_BYTES = 16;

/** HMAC-SHA-256 of `bytes` under `key`, cut to {@linkcode MAC_BYTES}. */
export type Mac = (key: Uint8Array, bytes: Uint8Array) => Uint8Array;

/** Unpredictable bytes (seeded in simulations). */
export type RandomBytes = (length: number) => Uint8Array;

/** What a total decoder answers: a value, or why the bytes are none. */
export type Decoded<Value, Refusal extends string = string> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly refused: Refusal };

/** Uniform in [0, 1) out of four random bytes. */
export function uniform(random: RandomBytes): number {
  const bytes = random(4);
  return new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0) / 2 ** 32;
}
