/**
 * The key that seals session tickets: when to make a new one, and how it is kept.
 *
 * The engine takes one key at a time, so a new key ends all tickets of the old one at once: each client's next return is
 * a full handshake, once. An old key is therefore of no use, and is not kept: whoever has it can read recorded early
 * data. Relay and connector keep theirs across restarts, and look every hour whether a new one is due.
 *
 * File, 57 bytes, mode 0600: `version[1] = 01  made-at[8]  key[48]`, big-endian.
 * @module
 */
import { type Bytes, type UnixMillis } from "../core/mod.ts";
import type { Parsed } from "./parsed.ts";

/** Bytes that the engine wants: a name, an HMAC key and an AES key of 16 each. */
export const TICKET_KEY_BYTES = 48;

/**
 * How long a key seals tickets, in milliseconds: 7 days, the longest life of a ticket (RFC 8446 §4.6.1). The engine's own
 * tickets live 2 days, so a return at a random moment meets a new key one time in seven at most; shorter would cost
 * early returns, longer would lengthen the time for which a stolen key opens recorded early data.
 */
export const TICKET_KEY_LIFETIME_MS = 7 * 24 * 3_600_000;

/** A key with its age. */
export interface TicketKey {
  /** {@linkcode TICKET_KEY_BYTES} random bytes. */
  readonly key: Bytes;
  readonly madeAt: UnixMillis;
}

/**
 * When to make the next key: now or earlier where there is none, it is too old, or it was made in the future (the clock
 * was set back; a replay guard that starts by that clock must not meet tickets of the time before).
 */
export function ticketKeyDue(current: TicketKey | undefined, now: UnixMillis): UnixMillis {
  if (!current || current.madeAt > now) return now;
  return current.madeAt + TICKET_KEY_LIFETIME_MS;
}

/** The key for the file. */
export function encodeTicketKey({ key, madeAt }: TicketKey): Bytes {
  if (key.length !== TICKET_KEY_BYTES) {
    throw new RangeError(
      `Cannot encode a ticket key as it has ${key.length} bytes, not ${TICKET_KEY_BYTES}`,
    );
  }
  const bytes = new Uint8Array(9 + TICKET_KEY_BYTES);
  bytes[0] = 1;
  new DataView(bytes.buffer).setBigUint64(1, BigInt(madeAt));
  bytes.set(key, 9);
  return bytes;
}

/** Reads {@linkcode encodeTicketKey} back; total. A refusal means: make a new key. */
export function decodeTicketKey(bytes: Uint8Array): Parsed<TicketKey> {
  const refused = { refused: "Cannot read the ticket key file as it is not one" };
  if (bytes.length !== 9 + TICKET_KEY_BYTES || bytes[0] !== 1) return refused;
  const madeAt = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigUint64(1);
  if (madeAt > BigInt(Number.MAX_SAFE_INTEGER)) return refused;
  return { ok: { key: bytes.slice(9), madeAt: Number(madeAt) } };
}
