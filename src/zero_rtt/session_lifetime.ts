/**
 * How long a ticket says that it lives. The engine does not tell, but the session that it hands out does:
 *
 * ```
 * length[8]  SSL_SESSION in DER: SEQUENCE { …, [1] { INTEGER time }, [2] { INTEGER timeout, in seconds }, … }   peer's parameters
 * ```
 *
 * Of this only `[2]` is looked for, so whatever else changes between versions does not matter.
 * @module
 */

const SEQUENCE = 0x30;
const TIMEOUT = 0xa2;
const INTEGER = 0x02;

/** Longest timeout that is believed, in bytes of its INTEGER: 2^31 seconds are above any. */
const MAX_INTEGER_BYTES = 4;

/** The ticket's life from the moment it was received, in milliseconds; `undefined` where the session is of another make. Total. */
export function sessionLifetime(session: Uint8Array): number | undefined {
  const whole = readElement(session, 8);
  if (whole?.tag !== SEQUENCE) return undefined;
  for (let at = whole.start; at < whole.end;) {
    const element = readElement(session, at);
    if (!element || element.end > whole.end) return undefined;
    if (element.tag === TIMEOUT) return readSeconds(session, element.start);
    at = element.end;
  }
  return undefined;
}

function readSeconds(bytes: Uint8Array, at: number): number | undefined {
  const element = readElement(bytes, at);
  if (element?.tag !== INTEGER) return undefined;
  const { start, end } = element;
  // The first bit is the sign.
  if (end === start || end - start > MAX_INTEGER_BYTES || bytes[start]! >= 0x80) return undefined;
  let seconds = 0;
  for (let i = start; i < end; i++) seconds = seconds * 256 + bytes[i]!;
  return seconds * 1_000;
}

/** One DER element (X.690 §8.1) with a tag of one byte; `undefined` where there is no whole one. */
function readElement(
  bytes: Uint8Array,
  at: number,
): { tag: number; start: number; end: number } | undefined {
  const tag = bytes[at];
  const first = bytes[at + 1];
  if (tag === undefined || first === undefined) return undefined;
  let start = at + 2;
  let length = first;
  if (first >= 0x80) {
    const count = first - 0x80;
    if (count === 0 || count > 3) return undefined;
    length = 0;
    for (let i = 0; i < count; i++) length = length * 256 + (bytes[start + i] ?? 0);
    start += count;
  }
  const end = start + length;
  return end <= bytes.length ? { tag, start, end } : undefined;
}
