/**
 * One bidirectional QUIC stream, driven by its owner: write what fits, read what is there, be told when more is possible.
 * @module
 */
import type { NativeConnection } from "./engine.ts";

/** What a stream needs of whoever keeps it. */
export interface StreamHost {
  readonly native: NativeConnection;
  /** Something was written or read: packets may want to leave. */
  touched(): void;
  /** So many bytes were written. */
  wrote(bytes: number): void;
  /** A stream that sends little has written, or any stream its end. */
  wroteLittle(): void;
  /** Bytes that a stream that sends much may write now; none where it is not its turn and others wait for theirs. */
  bulkRoom(inTurn: boolean): number;
  /** It has something to send again, after a pause. */
  returned(stream: QuicStream): void;
  /** Tell the stream when it can be read again. */
  awaitReadable(stream: QuicStream): void;
  /** Tell the stream when it can be written again. */
  awaitWritable(stream: QuicStream): void;
  /** Both directions are over. */
  forget(stream: QuicStream): void;
}

/**
 * The end of a stream travels as one more byte together with FIN, which the receiver takes off again. This engine loses a
 * FIN that travels alone: its sender forgets the stream as soon as all *bytes* are acknowledged, so a lost FIN is never sent
 * again; and its receiver does not call a stream readable where FIN comes on bytes that were all read before. The mark is
 * never sent without FIN, nor FIN without it.
 */
const END_MARK = new Uint8Array(1);

/**
 * A stream that has lately sent no more than this, in bytes, goes before those that did: a keystroke, a question, the head of
 * an answer. What it may have sent is halved every {@linkcode RECENT_PERIOD}. Who had more than this to send is bulk until it had
 * nothing to send for so long: on a slow path the end of each block is little, too.
 */
const PROMPT_BYTES = 32 * 1024;
/** Milliseconds. A stream that sends 160 KiB/s steadily is just about prompt. */
const RECENT_PERIOD = 100;
/** Milliseconds. A pipe that reads what there is has had something to send all the time. */
const READ_PAUSE = 20;
/** Urgency of prompt streams: behind control messages (0), before bulk. */
const PROMPT_URGENCY = 32;
/** Urgency of all others: the engine's own default. */
const BULK_URGENCY = 127;

/** Answer of {@linkcode QuicStream.read} when the peer has finished. */
export const STREAM_END = -1;

/**
 * A bidirectional stream, whose end is marked ({@linkcode END_MARK}). Never reset: this engine loses flow-control credit on
 * RESET_STREAM and STOP_SENDING, so a flow that is aborted says so elsewhere, finishes, and its receiver reads to the end.
 */
export class QuicStream {
  /** RFC 9000 §2.1 */
  readonly id: number;
  readonly #host: StreamHost;
  #sendFinished = false;
  #endSent = false;
  #receiveFinished = false;
  #dead = false;
  #reset = false;
  #readable: PromiseWithResolvers<void> | undefined;
  #writable: PromiseWithResolvers<void> | undefined;
  /** Bytes that the next write may take, where several streams share what is left. */
  #share: number | undefined;
  /** As the engine knows it; `undefined`: nobody has told it anything. */
  #urgency: number | undefined;
  /** Its urgency was chosen by its owner. */
  #fixed = false;
  /** Bytes of the last write that were not taken. */
  #refused = 0;
  /** It had much to send, and has had no pause since. */
  #bulk = false;
  /** Since when it has had nothing to send. */
  #emptySince = 0;
  /** Bytes sent lately, as of {@linkcode #recentAt}. */
  #recent = 0;
  #recentAt = 0;
  /** Bytes accepted for sending since the start. */
  bytesOut = 0;
  /** Bytes read since the start. */
  bytesIn = 0;
  /** For the connection: what it has had of its turns, in bytes; who has had least is next. */
  served = 0;

  constructor(host: StreamHost, id: number) {
    this.#host = host;
    this.id = id;
  }

  /** The peer has finished and all was read. */
  get receiveFinished(): boolean {
    return this.#receiveFinished;
  }

  /** The peer gave the stream up: {@linkcode read} has ended, but not with the last byte. */
  get reset(): boolean {
    return this.#reset;
  }

  /** {@linkcode finish} was called. */
  get sendFinished(): boolean {
    return this.#sendFinished;
  }

  /** The connection is gone; reads end, writes take everything and lose it. */
  get dead(): boolean {
    return this.#dead;
  }

  /**
   * 0 (first) to 255 (last); streams of one urgency take turns (RFC 9218). Without this, a stream that sends little goes before
   * one that sends much.
   */
  prioritise(urgency: number): void {
    this.#fixed = true;
    this.#setUrgency(urgency);
  }

  /** It has sent little of late and has little to send (or its owner wants it first): it is served before others. */
  get prompt(): boolean {
    if (this.#fixed) return (this.#urgency ?? BULK_URGENCY) <= PROMPT_URGENCY;
    return !this.#bulk && this.weight <= PROMPT_BYTES;
  }

  /**
   * Bytes that it has sent of late and that wait to be taken: who has the fewest goes first. On a slow path bulk has sent little
   * of late, too, but much of it waits.
   */
  get weight(): number {
    return this.#fixed ? 0 : this.#recentBytes(performance.now()) + this.#refused;
  }

  #recentBytes(now: number): number {
    const periods = Math.floor((now - this.#recentAt) / RECENT_PERIOD);
    if (periods > 0) {
      this.#recent = periods > 30 ? 0 : Math.floor(this.#recent / 2 ** periods);
      this.#recentAt = periods > 30 ? now : this.#recentAt + periods * RECENT_PERIOD;
    }
    return this.#recent;
  }

  #sent(bytes: number): void {
    this.bytesOut += bytes;
    this.served += bytes;
    this.#host.wrote(bytes);
    if (!this.#fixed) {
      const now = performance.now();
      this.#recent = this.#recentBytes(now) + bytes;
      if (this.#refused === 0) this.#emptySince = now;
      this.#setUrgency(this.prompt ? PROMPT_URGENCY : BULK_URGENCY);
    }
    if (this.#urgency! <= PROMPT_URGENCY) this.#host.wroteLittle();
  }

  #setUrgency(urgency: number): void {
    if (this.#urgency === urgency || this.#dead) return;
    this.#urgency = urgency;
    this.#host.native.streamPriority(this.id, urgency, true);
  }

  /**
   * Hands over as many bytes as flow control and the congestion window allow now; answers how many (maybe 0: then wait for
   * {@linkcode writable}). `data` may be reused at once.
   */
  write(data: Uint8Array): number {
    if (this.#dead || this.#sendFinished) return data.length;
    const share = this.#share;
    this.#share = undefined;
    this.#offered(data.length);
    const room = this.#room(data.length, share !== undefined);
    if (room <= 0) return 0;
    const most = Math.min(share ?? Infinity, room);
    const piece = most < data.length ? data.subarray(0, most) : data;
    let taken: number;
    try {
      taken = this.#host.native.streamSend(this.id, piece, false) ?? 0;
    } catch {
      // The peer wants no more of it (STOP_SENDING), which ours never say: the bytes are its loss.
      this.#sendFinished = this.#endSent = true;
      return data.length;
    }
    this.#refused -= taken;
    if (taken > 0) {
      this.#sent(taken);
      this.#host.touched();
    }
    return taken;
  }

  /** So many bytes want to be sent. */
  #offered(bytes: number): void {
    if (this.#refused === 0) {
      const pause = performance.now() - this.#emptySince;
      this.#bulk &&= pause < RECENT_PERIOD;
      if (pause > READ_PAUSE) this.#host.returned(this);
    }
    this.#refused = bytes;
    this.#bulk ||= !this.#fixed && this.weight > PROMPT_BYTES;
  }

  /** What of so many bytes may be written now, whatever the window. */
  #room(length: number, inTurn: boolean): number {
    if (!this.prompt) return this.#host.bulkRoom(inTurn);
    // Only where its owner wants it first.
    return length <= PROMPT_BYTES ? length : Math.max(PROMPT_BYTES, this.#host.bulkRoom(true));
  }

  /** No more bytes from us: the end follows what was written. */
  finish(): void {
    if (this.#dead || this.#sendFinished) return;
    this.#sendFinished = true;
    this.#sendEnd();
    // Whoever waits to write need not.
    this.#resolveWritable();
  }

  #sendEnd(): void {
    let taken: number;
    try {
      taken = this.#host.native.streamSend(this.id, END_MARK, true) ?? 0;
    } catch {
      // Stopped by the peer: over either way.
      taken = END_MARK.length;
    }
    if (taken === 0) {
      this.#host.awaitWritable(this);
      return;
    }
    this.#endSent = true;
    this.#host.wroteLittle();
    this.#host.touched();
    this.#forgetIfOver();
  }

  /** Reads what is there: the number of bytes, 0 when there is nothing now, {@linkcode STREAM_END} after the last. */
  read(into: Uint8Array): number {
    if (this.#receiveFinished || this.#dead) return STREAM_END;
    const { native } = this.#host;
    if (!native.streamReadable(this.id)) return 0;
    let result: [number, boolean] | null;
    try {
      result = native.streamRecv(this.id, into);
    } catch {
      // The peer reset the stream, as it does when it closes the connection: what is missing is lost.
      this.#reset = true;
      result = [0, true];
    }
    if (result === null) return 0;
    const [received, fin] = result;
    const length = fin ? Math.max(0, received - END_MARK.length) : received;
    this.bytesIn += length;
    // Reading moves the flow-control window, which has to be told.
    this.#host.touched();
    if (fin) {
      this.#receiveFinished = true;
      this.#forgetIfOver();
      return length > 0 ? length : STREAM_END;
    }
    return length;
  }

  /** Resolves when {@linkcode read} has something to say. */
  readable(): Promise<void> {
    if (this.#dead || this.#receiveFinished || this.#host.native.streamReadable(this.id)) {
      return Promise.resolve();
    }
    if (!this.#readable) {
      this.#readable = Promise.withResolvers();
      this.#host.awaitReadable(this);
    }
    return this.#readable.promise;
  }

  /** Resolves when {@linkcode write} may take more. */
  writable(): Promise<void> {
    if (this.#dead || this.#sendFinished) return Promise.resolve();
    if (!this.#writable) {
      this.#writable = Promise.withResolvers();
      this.#host.awaitWritable(this);
    }
    return this.#writable.promise;
  }

  /** Writes all of `data`, waiting as often as it must; answers false when the connection ended before. */
  async writeAll(data: Uint8Array): Promise<boolean> {
    let offset = 0;
    while (offset < data.length) {
      offset += this.write(offset === 0 ? data : data.subarray(offset));
      if (offset < data.length) await this.writable();
    }
    return !this.#dead;
  }

  /** For the connection: the stream can be read. */
  wakeReader(): void {
    const waiter = this.#readable;
    this.#readable = undefined;
    waiter?.resolve();
  }

  /** For the connection: the stream can be written; `share` bytes at once, if given. */
  wakeWriter(share?: number): void {
    if (this.#sendFinished && !this.#endSent && !this.#dead) this.#sendEnd();
    this.#share = share;
    this.#resolveWritable();
  }

  #resolveWritable(): void {
    const waiter = this.#writable;
    this.#writable = undefined;
    waiter?.resolve();
  }

  /** For the connection: it has ended. */
  kill(): void {
    this.#dead = true;
    this.wakeReader();
    this.wakeWriter();
  }

  #forgetIfOver(): void {
    if (this.#endSent && this.#receiveFinished) this.#host.forget(this);
  }
}
