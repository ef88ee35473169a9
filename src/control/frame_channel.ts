/**
 * Framed JSON on a QUIC stream: the relay's control stream, and the tunnel's own.
 * @module
 */
import { type Bytes, concatBytes } from "../core/mod.ts";
import { type QuicStream, STREAM_END } from "../quic/mod.ts";
import { encodeMessage, FrameReader, type FramingRefusal } from "./framing.ts";

/**
 * Bytes that wait for the stream at most. Control messages are small and rare: an end that lets a megabyte of them pile
 * up has stopped reading, and the channel says `overflow`.
 */
const MAX_QUEUED_BYTES = 1 << 20;

/** What a channel tells its owner. */
export interface FrameChannelEvents {
  /** A whole message; JSON, not checked for anything else. */
  frame(json: unknown): void;
  /** The bytes are no messages, or the other end does not read: the connection should be closed. */
  refused(refusal: FramingRefusal | { code: "overflow"; message: string }): void;
  /** The stream or its connection has ended. */
  end?(): void;
}

/** Sends and receives messages on one stream; owns it. */
export class FrameChannel {
  readonly #stream: QuicStream;
  readonly #events: FrameChannelEvents;
  readonly #reader = new FrameReader();
  #queue: Bytes[] = [];
  #queued = 0;
  #draining = false;
  #over = false;

  constructor(stream: QuicStream, events: FrameChannelEvents) {
    this.#stream = stream;
    this.#events = events;
    stream.prioritise(0);
    // Not at once: the owner has to have its channel before a message may want an answer.
    queueMicrotask(() => void this.#read());
  }

  /** Sends a message, in order, as soon as the stream takes it. */
  send(message: object): void {
    if (this.#over) return;
    const bytes = encodeMessage(message);
    if (this.#queue.length === 0) {
      const taken = this.#stream.write(bytes);
      if (taken === bytes.length) return;
      this.#enqueue(bytes.subarray(taken));
    } else this.#enqueue(bytes);
  }

  /** Everything that was sent so far is forgotten where it still waits here; for sending anew after refused early data. */
  finish(): void {
    this.#stream.finish();
  }

  #enqueue(bytes: Bytes): void {
    this.#queued += bytes.length;
    if (this.#queued > MAX_QUEUED_BYTES) {
      this.#over = true;
      this.#queue = [];
      const message = `Cannot queue more than ${MAX_QUEUED_BYTES} bytes of control messages`;
      this.#events.refused({ code: "overflow", message });
      return;
    }
    this.#queue.push(bytes);
    if (!this.#draining) void this.#drain();
  }

  async #drain(): Promise<void> {
    this.#draining = true;
    while (this.#queue.length > 0 && !this.#stream.dead) {
      await this.#stream.writable();
      const bytes = concatBytes(...this.#queue);
      const taken = this.#stream.write(bytes);
      this.#queue = taken === bytes.length ? [] : [bytes.subarray(taken)];
      this.#queued = bytes.length - taken;
    }
    this.#draining = false;
  }

  async #read(): Promise<void> {
    const buffer = new Uint8Array(16_384);
    for (;;) {
      const length = this.#stream.read(buffer);
      if (length === STREAM_END) break;
      if (length === 0) {
        await this.#stream.readable();
        continue;
      }
      const { frames, refused } = this.#reader.read(buffer.subarray(0, length));
      for (const frame of frames) this.#events.frame(frame);
      if (refused) {
        this.#events.refused(refused);
        return;
      }
    }
    this.#over = true;
    this.#events.end?.();
  }
}
