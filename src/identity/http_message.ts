/**
 * As much of HTTP/1.1 (RFC 9112) as enrolment needs, at both ends: one message a connection, its length told in
 * advance. What is beyond that is refused.
 * @module
 */
import { type Bytes, concatBytes, decodeUtf8, encodeUtf8 } from "../core/mod.ts";

/** A head of ours has 200 bytes; ones of curl or a proxy a few hundred. */
export const MAX_HEAD_BYTES = 8192;

/** A whole message. */
export interface HttpMessage {
  /** `POST /v1/redeem HTTP/1.1` or `HTTP/1.1 200 OK`. */
  readonly startLine: string;
  readonly body: Bytes;
}

/** Why a message cannot be read. */
export type HttpRefusal = "malformed" | "head-too-large" | "body-too-large" | "length-required";

/** Collects one message from chunks of any size. Holds at most {@linkcode MAX_HEAD_BYTES} and the largest body. */
export class HttpMessageReader {
  #maxBody: number;
  #chunks: Bytes = new Uint8Array();
  #head: { startLine: string; bodyStart: number; length: number } | undefined;
  #bodyOptional: boolean;

  /**
   * @param options.maxBodyBytes a longer body is refused as soon as the head announces it
   * @param options.bodyOptional no length means no body (a GET) instead of a refusal, @default false
   */
  constructor(options: { maxBodyBytes: number; bodyOptional?: boolean }) {
    this.#maxBody = options.maxBodyBytes;
    this.#bodyOptional = options.bodyOptional ?? false;
  }

  /** Takes a chunk: the whole message, a refusal, or `undefined` while more is to come. Total. */
  push(chunk: Uint8Array): HttpMessage | HttpRefusal | undefined {
    const searched = Math.max(0, this.#chunks.length - 3);
    this.#chunks = concatBytes(this.#chunks, chunk);
    if (!this.#head) {
      const end = endOfHead(this.#chunks, searched);
      if (end === undefined ? this.#chunks.length > MAX_HEAD_BYTES : end > MAX_HEAD_BYTES) {
        return "head-too-large";
      }
      if (end === undefined) return undefined;
      const head = this.#parseHead(decodeUtf8(this.#chunks.subarray(0, end)));
      if (typeof head === "string") return head;
      this.#head = { ...head, bodyStart: end };
    }
    const { startLine, bodyStart, length } = this.#head;
    if (this.#chunks.length < bodyStart + length) return undefined;
    // What follows the message is none of ours: one message a connection.
    return { startLine, body: this.#chunks.slice(bodyStart, bodyStart + length) };
  }

  #parseHead(text: string): { startLine: string; length: number } | HttpRefusal {
    const [startLine = "", ...fields] = text.split("\r\n");
    if (!/^[\x21-\x7e]+ [\x21-\x7e]+( [\x20-\x7e]*)?$/.test(startLine)) return "malformed";
    let length: number | undefined;
    for (const field of fields) {
      if (field === "") continue;
      const colon = field.indexOf(":");
      if (colon < 1) return "malformed";
      const name = field.slice(0, colon).toLowerCase();
      const value = field.slice(colon + 1).trim();
      if (name === "transfer-encoding") return "length-required";
      if (name !== "content-length") continue;
      // Two lengths are how requests are smuggled (RFC 9112 §6.3).
      if (length !== undefined || !/^\d{1,9}$/.test(value)) return "malformed";
      length = Number(value);
    }
    if (length === undefined && !this.#bodyOptional) return "length-required";
    if ((length ?? 0) > this.#maxBody) return "body-too-large";
    return { startLine, length: length ?? 0 };
  }
}

/** Where the empty line ends, if one begins at `from` or later. */
function endOfHead(bytes: Uint8Array, from: number): number | undefined {
  // The search is bounded by the largest head, so that a flood of bytes costs no more.
  const limit = Math.min(bytes.length - 3, MAX_HEAD_BYTES + 1);
  for (let i = from; i < limit; i++) {
    if (bytes[i] === 13 && bytes[i + 1] === 10 && bytes[i + 2] === 13 && bytes[i + 3] === 10) {
      return i + 4;
    }
  }
  return undefined;
}

/** A JSON message with this start line; the connection ends after it. */
export function encodeHttpMessage(
  startLine: string,
  json: unknown,
  options: { host?: string } = {},
): Bytes {
  const body = encodeUtf8(JSON.stringify(json));
  const head = [
    startLine,
    ...(options.host === undefined ? [] : [`Host: ${options.host}`]),
    "Content-Type: application/json",
    `Content-Length: ${body.length}`,
    "Connection: close",
    "",
    "",
  ];
  return concatBytes(encodeUtf8(head.join("\r\n")), body);
}
