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
 * taking turns costs little.
 */
const MIN_SHARE_BYTES = 16_384;

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
  readonly bulkRoom: () => number;
  readonly #options: StreamTableOptions;
  readonly #streams = new Map<number, QuicStream>();
  readonly #readWaiters = new Set<QuicStream>();
  /** In the order in which they get their turn. */
  readonly #writeWaiters = new Set<QuicStream>();
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
    this.bulkRoom = options.bulkRoom;
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
    this.#writeWaiters.add(stream);
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
   * Shares what the congestion window has left among those who wait: those who send little first, then the others in turns.
   * Without shares the first one would take all of it every time.
   */
  #processWritable(): void {
    const { native } = this;
    const waiters = [...this.#writeWaiters];
    const waiting = waiters.length;
    // Woken in this order, they write in this order.
    const ordered = waiting > 1
      ? [
        ...waiters.filter(({ prompt }) => prompt).sort((a, b) => a.weight - b.weight),
        ...waiters.filter(({ prompt }) => !prompt),
      ]
      : waiters;
    let room = this.bulkRoom();
    for (const stream of ordered) {
      let capacity = 1;
      try {
        capacity = native.streamCapacity(stream.id);
      } catch {
        // Stopped by the peer: wake the writer, who will find out.
      }
      if (capacity <= 0) continue;
      let share = waiting > 1
        ? Math.max(MIN_SHARE_BYTES, Math.floor(capacity / waiting))
        : Infinity;
      if (!stream.prompt) {
        // Who gets nothing keeps its place in the line.
        if (room <= 0) continue;
        share = Math.min(share, room);
        room -= share;
      }
      this.#writeWaiters.delete(stream);
      stream.wakeWriter(share);
    }
  }
}
