/**
 * The stamp that opens a tunnel's control stream, and its answer. (The relay's hello carries the same two values as
 * JSON.) Big-endian.
 *
 * ```
 * agent -> connector, 25 bytes:  version[1] = 01   nonce[16]    issued-at[8]   (ms on the connector's clock; 0: not known)
 * connector -> agent, 10 bytes:  version[1] = 01   verdict[1]   now[8]         (ms on the connector's clock)
 * ```
 *
 * verdict: 0 acted on early; 1 not early (no early data, or switched off); 2 before-start; 3 stale; 4 seen; 5 full. With
 * 2 to 5 nothing need be sent again: the connector holds what came early and acts on it when the handshake ends.
 * @module
 */
import { type Bytes, type UnixMillis } from "../core/mod.ts";
import type { Parsed } from "./parsed.ts";

/** Bytes of a nonce: 128 random bits never meet twice by chance. */
export const NONCE_BYTES = 16;

/** Bytes of an encoded {@linkcode EarlyMessage}. */
export const EARLY_MESSAGE_BYTES = 1 + NONCE_BYTES + 8;

/** Bytes of an encoded {@linkcode EarlyAnswer}. */
export const EARLY_ANSWER_BYTES = 10;

const VERSION = 1;

/** What the agent stamps a tunnel's first flight with. */
export interface EarlyMessage {
  /** {@linkcode NONCE_BYTES} random bytes, new for every connection. */
  readonly nonce: Bytes;
  /** On the connector's clock, from {@linkcode issueTime}; null where it is not known (then nothing is acted on early). */
  readonly issuedAt: UnixMillis | null;
}

/** What became of the early data, in the order of their wire values. */
export const EARLY_RESULTS = [
  "accepted",
  "none",
  "before-start",
  "stale",
  "seen",
  "full",
] as const;

/** One of {@linkcode EARLY_RESULTS}. */
export type EarlyResult = typeof EARLY_RESULTS[number];

/** The connector's answer: the result, and its clock for the next visit. */
export interface EarlyAnswer {
  readonly result: EarlyResult;
  /** What the connector's receiver clock shows. */
  readonly now: UnixMillis;
}

/**
 * @throws {RangeError} where the nonce has another length or the time is no time
 */
export function encodeEarlyMessage({ nonce, issuedAt }: EarlyMessage): Bytes {
  if (nonce.length !== NONCE_BYTES) {
    throw new RangeError(
      `Cannot encode an early message as its nonce has ${nonce.length} bytes, not ${NONCE_BYTES}`,
    );
  }
  const bytes = new Uint8Array(EARLY_MESSAGE_BYTES);
  bytes[0] = VERSION;
  bytes.set(nonce, 1);
  putTime(bytes, 1 + NONCE_BYTES, issuedAt ?? 0);
  return bytes;
}

/** Reads one early message; total. Takes exactly {@linkcode EARLY_MESSAGE_BYTES} bytes. */
export function decodeEarlyMessage(bytes: Uint8Array): Parsed<EarlyMessage> {
  const wrong = checkFrame(bytes, EARLY_MESSAGE_BYTES, "early message");
  if (wrong !== undefined) return { refused: wrong };
  const issuedAt = takeTime(bytes, 1 + NONCE_BYTES);
  if (issuedAt === undefined) {
    return { refused: "Cannot read an early message as its issue time is out of range" };
  }
  return { ok: { nonce: bytes.slice(1, 1 + NONCE_BYTES), issuedAt: issuedAt || null } };
}

/**
 * @throws {RangeError} where the time is no time
 */
export function encodeEarlyAnswer({ result, now }: EarlyAnswer): Bytes {
  const bytes = new Uint8Array(EARLY_ANSWER_BYTES);
  bytes[0] = VERSION;
  bytes[1] = EARLY_RESULTS.indexOf(result);
  putTime(bytes, 2, now);
  return bytes;
}

/** Reads one early answer; total. Takes exactly {@linkcode EARLY_ANSWER_BYTES} bytes. */
export function decodeEarlyAnswer(bytes: Uint8Array): Parsed<EarlyAnswer> {
  const wrong = checkFrame(bytes, EARLY_ANSWER_BYTES, "early answer");
  if (wrong !== undefined) return { refused: wrong };
  const result = EARLY_RESULTS[bytes[1]!];
  if (result === undefined) {
    return { refused: `Cannot read an early answer as it has result ${bytes[1]}` };
  }
  const now = takeTime(bytes, 2);
  if (now === undefined) {
    return { refused: "Cannot read an early answer as its time is out of range" };
  }
  return { ok: { result, now } };
}

function checkFrame(bytes: Uint8Array, length: number, what: string): string | undefined {
  if (bytes.length !== length) {
    return `Cannot read an ${what} as it has ${bytes.length} bytes, not ${length}`;
  }
  if (bytes[0] !== VERSION) {
    return `Cannot read an ${what} as it has version ${bytes[0]}, not ${VERSION}`;
  }
  return undefined;
}

function putTime(bytes: Bytes, offset: number, time: UnixMillis): void {
  if (!Number.isSafeInteger(time) || time < 0) {
    throw new RangeError(`Cannot encode ${time} as a time in whole milliseconds`);
  }
  new DataView(bytes.buffer).setBigUint64(offset, BigInt(time));
}

/** Not more than 2^53 - 1, so that it is exact as a number. */
function takeTime(bytes: Uint8Array, offset: number): UnixMillis | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const time = view.getBigUint64(offset);
  return time <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(time) : undefined;
}
