/**
 * The streams of a connection: who waits for what, and whose turn it is.
 * @module
 */
import type { NativeConnection } from "./engine.ts";
import { QuicStream, type StreamHost } from "./stream.ts";

/**
 * Streams up to which asking each one "can I read you" (0.16 µs) beats the engine's iterator (16 µs).
 */
const POLL_LIMIT = 100;

/** Milliseconds between searches for streams that the peer opened out of order. */
const STRAY_STREAM_INTERVAL = 2;

/** Streams remembered that came before one of a lower id did; beyond it the gaps are left to the search for strays. */
const MAX_STRAYS = 4_096;

/**
 * What a writer gets at least when several share what the congestion window has left, in bytes: a dozen packets, so that
 * taking turns costs little. Who comes (again) may be so far behind the others: nobody saves turns up.
 */
const MIN_SHARE_BYTES = 16_384;

/** Who never stops sending may be so far behind, in bytes: a pipe's largest buffer, which it may get in one turn. */
const MAX_BEHIND_BYTES = 256 * 1024;

const NOTHING = new Uint8Array(0);

/** What a table needs of its connection. */
export interface StreamTableOptions {
  readonly native: NativeConnection;
  readonly isClient: boolean;
  /** Packets may want to leave. */
  readonly touched: () => void;
  /** A stream that sends little has written, or any stream its end. */
  readonly wroteLittle: () => void;
  /** So many bytes were written. */
  readonly wrote: (bytes: number) => void;
  /** Bytes that streams that send much may write now. */
  readonly bulkRoom: () => number;
  /** Look again in a moment, when there is room for them. */
  readonly awaitRoom: () => void;
  /** Look again, though no packet comes. */
  readonly lookAgain: () => void;
  /** The peer opened a stream. */
  readonly opened: (stream: QuicStream) => void;
}

/** The streams of one connection. */
export class StreamTable implements StreamHost {
  readonly native: NativeConnection;
  readonly touched: () => void;
  readonly wroteLittle: () => void;
  readonly wrote: (bytes: number) => void;
  readonly #options: StreamTableOptions;
  readonly #streams = new Map<number, QuicStream>();
  readonly #readWaiters = new Set<QuicStream>();
  readonly #writeWaiters = new Set<QuicStream>();
  /** What the last one to get its turn had had before ({@linkcode QuicStream.served}). */
  #turn = 0;
  /** Some who send much wait for room. */
  #line = false;
  readonly #strays = new Set<number>();
  #strayCheckAt = 0;
  #strayTimer: ReturnType<typeof setTimeout> | undefined;
  #nextOwn: number;
  #nextPeer: number;
  #credit: PromiseWithResolvers<void> | undefined;
  #ended = false;

  constructor(options: StreamTableOptions) {
    this.#options = options;
    this.native = options.native;
    this.touched = options.touched;
    this.wroteLittle = options.wroteLittle;
    this.wrote = options.wrote;
    this.#nextOwn = options.isClient ? 0 : 1;
    this.#nextPeer = options.isClient ? 1 : 0;
  }

  /** Streams that live now. */
  get size(): number {
    return this.#streams.size;
  }

  /** Their ids. */
  ids(): Iterable<number> {
    return this.#streams.keys();
  }

  /** Opens a stream, or answers `undefined` while the peer allows no more. */
  open(): QuicStream | undefined {
    if (this.native.peerStreamsLeftBidi() <= 0) return undefined;
    const stream = new QuicStream(this, this.#nextOwn);
    this.#nextOwn += 4;
    // An empty write makes the engine's stream, so that its credit is spent now and not at the first byte.
    this.native.streamSend(stream.id, NOTHING, false);
    this.#streams.set(stream.id, stream);
    return stream;
  }

  /** Resolves when {@linkcode open} may work again, or the connection has ended. */
  credit(): Promise<void> {
    if (this.#ended || this.native.peerStreamsLeftBidi() > 0) return Promise.resolve();
    this.#credit ??= Promise.withResolvers();
    return this.#credit.promise;
  }

  awaitReadable(stream: QuicStream): void {
    this.#readWaiters.add(stream);
  }

  awaitWritable(stream: QuicStream): void {
    stream.served = Math.max(stream.served, this.#turn - MAX_BEHIND_BYTES);
    this.#writeWaiters.add(stream);
  }

  returned(stream: QuicStream): void {
    stream.served = Math.max(stream.served, this.#turn - MIN_SHARE_BYTES);
  }

  /** Who has just read more to send does not go before those who wait. */
  bulkRoom(inTurn: boolean): number {
    const room = inTurn || !this.#line ? this.#options.bulkRoom() : 0;
    if (room <= 0) this.#options.awaitRoom();
    return room;
  }

  forget(stream: QuicStream): void {
    this.#streams.delete(stream.id);
    this.#readWaiters.delete(stream);
    this.#writeWaiters.delete(stream);
  }

  /** After a batch of packets: wakes whoever can go on. */
  process(now: number): void {
    if (this.native.isReadable()) this.#processReadable(now);
    if (this.#writeWaiters.size > 0) this.#processWritable();
    if (this.#credit && this.native.peerStreamsLeftBidi() > 0) {
      const waiter = this.#credit;
      this.#credit = undefined;
      waiter.resolve();
    }
  }

  /** The connection has ended. */
  end(): void {
    this.#ended = true;
    clearTimeout(this.#strayTimer);
    for (const stream of this.#streams.values()) stream.kill();
    this.#streams.clear();
    this.#readWaiters.clear();
    this.#writeWaiters.clear();
    this.#credit?.resolve();
  }

  #processReadable(now: number): void {
    const { native } = this;
    let found = false;
    if (this.#readWaiters.size <= POLL_LIMIT) {
      for (const stream of this.#readWaiters) {
        if (!native.streamReadable(stream.id)) continue;
        found = true;
        this.#readWaiters.delete(stream);
        stream.wakeReader();
      }
      while (native.streamReadable(this.#nextPeer)) {
        found = true;
        this.#accept(this.#nextPeer);
      }
      if (now < this.#strayCheckAt) {
        // What is readable may just be a stream whose application does not read; or a stray, that no packet will mention again.
        if (!found) this.#checkStraysLater();
        return;
      }
    }
    this.#strayCheckAt = now + STRAY_STREAM_INTERVAL;
    for (const id of native.readable()) {
      const stream = this.#streams.get(id);
      if (stream) {
        if (this.#readWaiters.delete(stream)) stream.wakeReader();
      } else this.#accept(id);
    }
  }

  #checkStraysLater(): void {
    this.#strayTimer ??= setTimeout(() => {
      this.#strayTimer = undefined;
      this.#options.lookAgain();
    }, STRAY_STREAM_INTERVAL);
  }

  #accept(id: number): void {
    const peerOpened = (id & 1) === (this.#options.isClient ? 1 : 0);
    if (id === this.#nextPeer) this.#advance();
    else if (peerOpened && id > this.#nextPeer) {
      if (this.#strays.size >= MAX_STRAYS) this.#strays.clear();
      this.#strays.add(id);
    }
    // Streams that are over, and streams of a kind that nobody opens, are nobody's.
    if (!peerOpened || this.#streams.has(id) || (id & 2) !== 0) return;
    const stream = new QuicStream(this, id);
    this.#streams.set(id, stream);
    this.#options.opened(stream);
  }

  /** Past the stream that came, and past those that came before it. */
  #advance(): void {
    do this.#nextPeer += 4; while (this.#strays.delete(this.#nextPeer));
  }

  /**
   * Shares what the congestion window has left among those who wait: those who send little first, then whoever has had least of
   * the others. Without shares the first one would take all of it every time.
   */
  #processWritable(): void {
    const { native } = this;
    const prompt: QuicStream[] = [];
    const bulk: QuicStream[] = [];
    let capacity = 1;
    for (const stream of this.#writeWaiters) {
      let own = 1;
      try {
        own = native.streamCapacity(stream.id);
      } catch {
        // Stopped by the peer: wake the writer, who will find out.
      }
      if (own <= 0) continue;
      capacity = Math.max(capacity, own);
      (stream.prompt ? prompt : bulk).push(stream);
    }
    // Woken in this order, they write in this order.
    prompt.sort((a, b) => a.weight - b.weight);
    bulk.sort((a, b) => a.served - b.served);
    const waiting = prompt.length + bulk.length;
    const share = waiting > 1
      ? Math.max(MIN_SHARE_BYTES, Math.floor(capacity / waiting))
      : Infinity;
    for (const stream of prompt) this.#wake(stream, share);
    let room = bulk.length > 0 ? this.#options.bulkRoom() : 0;
    this.#line = false;
    for (const stream of bulk) {
      if (room <= 0) {
        this.#line = true;
        this.#options.awaitRoom();
        return;
      }
      this.#turn = stream.served;
      const part = Math.min(share, room);
      room -= part;
      this.#wake(stream, part);
    }
  }

  #wake(stream: QuicStream, share: number): void {
    this.#writeWaiters.delete(stream);
    stream.wakeWriter(share);
  }
}
