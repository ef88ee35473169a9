/**
 * What a relay says to a packet that belongs to nothing it knows, as after a crash: without it a client would take the
 * relay for silent, and wait.
 *
 * ```
 * 07 echo[8]     echo: bytes 1 to 8 of the packet (a connection's or a tunnel's id)
 * ```
 *
 * It proves nothing but that its sender has seen the packet. So whoever gets it asks the relay, and acts on its silence.
 * It is shorter than what it answers, and is itself never answered.
 * @module
 */
import { type Bytes, toHex } from "../core/mod.ts";

const FIRST_BYTE = 0x07;
const ECHO_BYTES = 8;

/** Packets shorter than this get no answer: no QUIC packet is (RFC 9000 §10.3 has the same bound, for the same reason). */
export const MIN_ANSWERED_BYTES = 21;

/** The answer to a packet; `undefined` where it gets none. */
export function encodeStranger(packet: Uint8Array): Bytes | undefined {
  if (packet.length < MIN_ANSWERED_BYTES) return undefined;
  const answer = new Uint8Array(1 + ECHO_BYTES);
  answer.set(packet.subarray(0, answer.length));
  answer[0] = FIRST_BYTE;
  return answer;
}

/** The echo, as 16 hexadecimal digits; `undefined` where it is no such answer. Total. */
export function decodeStranger(datagram: Uint8Array): string | undefined {
  if (datagram.length !== 1 + ECHO_BYTES || datagram[0] !== FIRST_BYTE) return undefined;
  return toHex(datagram.subarray(1));
}
