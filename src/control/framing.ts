/**
 * How messages lie on the control stream:
 *
 * ```
 * +----------------+---------------------+
 * | length u32 BE  | JSON, UTF-8         |   length counts the JSON alone, at most 64 KiB
 * +----------------+---------------------+
 * ```
 * @module
 */
import { type Bytes, decodeUtf8Strict, encodeUtf8 } from "../core/mod.ts";

/**
 * The longest JSON text of one message, in bytes. The largest honest ones (256 service names, a certificate)
 * stay under 20 KiB; a longer one is refused before any of it is kept.
 */
export const MAX_MESSAGE_BYTES = 64 * 1024;

const HEADER_BYTES = 4;

/** First allocation for a message that comes in pieces: nobody gets 64 KiB of ours for announcing them. */
const FIRST_BUFFER_BYTES = 1024;

/** Why bytes are no message. Final: the stream cannot be read on from there. */
export interface FramingRefusal {
  readonly code: "too-long" | "not-utf8" | "not-json";
  /** For people. */
  readonly message: string;
}

/** What {@linkcode FrameReader.read} found, in order. `refused` ends the stream. */
export interface FramesRead {
  /** JSON values, checked for nothing else. */
  readonly frames: unknown[];
  readonly refused: FramingRefusal | undefined;
}

/**
 * A message with its length in front.
 *
 * @throws {RangeError} where the JSON is longer than {@linkcode MAX_MESSAGE_BYTES}
 */
export function encodeMessage(message: object): Bytes {
  const json = encodeUtf8(JSON.stringify(message));
  if (json.length > MAX_MESSAGE_BYTES) {
    throw new RangeError(
      `Cannot send a control message of ${json.length} bytes as ${MAX_MESSAGE_BYTES} is the most`,
    );
  }
  const bytes = new Uint8Array(HEADER_BYTES + json.length);
  new DataView(bytes.buffer).setUint32(0, json.length);
  bytes.set(json, HEADER_BYTES);
  return bytes;
}

/**
 * Cuts a byte stream into messages, whatever the pieces it comes in. Keeps one unfinished message at most
 * ({@linkcode MAX_MESSAGE_BYTES} and its header). After a refusal it takes nothing more.
 */
export class FrameReader {
  #header = new Uint8Array(HEADER_BYTES);
  #headerLength = 0;
  /** Length of the message being read, once the header is whole. */
  #wanted: number | undefined;
  #body: Bytes = new Uint8Array(0);
  #bodyLength = 0;
  #refused: FramingRefusal | undefined;

  /** Bytes kept for a message that is not whole yet. */
  get heldBytes(): number {
    return this.#headerLength + this.#bodyLength;
  }

  /** Takes the next piece of the stream; gives the messages that it completes. The piece is not kept. */
  read(chunk: Uint8Array): FramesRead {
    const frames: unknown[] = [];
    let offset = 0;
    while (this.#refused === undefined && offset < chunk.length) {
      if (this.#wanted === undefined) {
        this.#header[this.#headerLength++] = chunk[offset++]!;
        if (this.#headerLength === HEADER_BYTES) this.#begin();
        if (this.#wanted === 0) this.#finish(new Uint8Array(0), frames);
        continue;
      }
      const missing = this.#wanted - this.#bodyLength;
      const part = chunk.subarray(offset, offset + missing);
      offset += part.length;
      if (part.length < missing) this.#keep(part, this.#wanted);
      else if (this.#bodyLength === 0) this.#finish(part, frames);
      else {
        this.#keep(part, this.#wanted);
        this.#finish(this.#body.subarray(0, this.#bodyLength), frames);
      }
    }
    return { frames, refused: this.#refused };
  }

  #begin(): void {
    const length = new DataView(this.#header.buffer).getUint32(0);
    if (length > MAX_MESSAGE_BYTES) {
      this.#refuse(
        "too-long",
        `Cannot read a control message of ${length} bytes as ${MAX_MESSAGE_BYTES} is the most`,
      );
    } else this.#wanted = length;
  }

  #keep(part: Uint8Array, wanted: number): void {
    const needed = this.#bodyLength + part.length;
    if (needed > this.#body.length) {
      const size = Math.max(needed, FIRST_BUFFER_BYTES, 2 * this.#body.length);
      const grown = new Uint8Array(Math.min(wanted, size));
      grown.set(this.#body.subarray(0, this.#bodyLength));
      this.#body = grown;
    }
    this.#body.set(part, this.#bodyLength);
    this.#bodyLength = needed;
  }

  #finish(json: Uint8Array, frames: unknown[]): void {
    const text = decodeUtf8Strict(json);
    this.#reset();
    if (text === undefined) {
      return this.#refuse("not-utf8", "Cannot read a control message as it is not UTF-8");
    }
    try {
      frames.push(JSON.parse(text));
    } catch {
      this.#refuse("not-json", "Cannot read a control message as it is not JSON");
    }
  }

  #refuse(code: FramingRefusal["code"], message: string): void {
    this.#reset();
    this.#refused = { code, message };
  }

  #reset(): void {
    this.#headerLength = 0;
    this.#wanted = undefined;
    this.#body = new Uint8Array(0);
    this.#bodyLength = 0;
  }
}
