/**
 * One QUIC connection: the engine's state, its streams, its datagrams, and the packets it wants sent.
 * It owns no socket: packets come in through {@linkcode QuicConnection.ingest} and leave through its {@linkcode Egress}.
 * @module
 */
import { type Address, addressOf, type Bytes, decodeUtf8 } from "../core/mod.ts";
import { Closing } from "./closing.ts";
import type { NativeConnection, NativePathEvent } from "./engine.ts";
import { QuicStream, type StreamHost } from "./stream.ts";
import { TrainBuilder } from "./train_builder.ts";

/** Where a connection's packets go. */
export interface Egress {
  /** Largest QUIC packet for this path, in bytes (1200 or more). */
  packetSize(peer: Address): number;
  /** Bytes to put before each packet on this path; empty for none. */
  prefix(peer: Address): Uint8Array;
  /** Sends a train (prefixes included) along a path; answers how many bytes were taken, as `UdpSocket.send` does. */
  transmit(local: Address, peer: Address, data: Uint8Array, segmentSize: number): number;
  /** Resolves when {@linkcode transmit} may take more. */
  writable(): Promise<void>;
}

/** Why a connection ended. */
export interface CloseReason {
  /** Who ended it: a timer, the other end, or this end. */
  readonly by: "timeout" | "peer" | "local";
  /** QUIC or application error code (RFC 9000 §20); 0 is none. */
  readonly code: number;
  /** The code is the application's own. */
  readonly application: boolean;
  readonly text: string;
  /** It ended before the handshake was done. */
  readonly duringHandshake: boolean;
}

/** What a connection tells its owner. Each is called on the event loop, never inside one of its methods. */
export interface ConnectionHandler {
  /** The handshake is complete and the peer's certificate checked. */
  established?(): void;
  /** The peer opened a stream (maybe still in early data: ask {@linkcode QuicConnection.inEarlyData}). */
  stream?(stream: QuicStream): void;
  /** A DATAGRAM came. The array is the receiver's. */
  datagram?(data: Uint8Array): void;
  /** Something happened to a path: validated, migrated, new. */
  path?(event: NativePathEvent): void;
  /** It is over; called once. */
  closed?(reason: CloseReason): void;
}

/** What a connection needs of its endpoint. */
export interface ConnectionHost {
  /** Packets may want to leave. */
  wake(connection: QuicConnection): void;
  /** Gives the connection one more id that the peer may use. */
  register(connection: QuicConnection): Uint8Array;
  retire(connection: QuicConnection, id: Uint8Array): void;
  /** It is over. */
  gone(connection: QuicConnection): void;
}

/**
 * Streams up to which asking each one "can I read you" (0.16 µs) beats the engine's iterator (16 µs).
 */
const POLL_LIMIT = 100;

/** Milliseconds between searches for streams that the peer opened out of order. */
const STRAY_STREAM_INTERVAL = 2;

/** One QUIC connection. Made by `QuicEndpoint`. */
export class QuicConnection implements StreamHost {
  readonly native: NativeConnection;
  readonly isClient: boolean;
  /** Where packets go; a tunnel changes its mind about this. */
  readonly egress: Egress;
  /** Packets that came on the path in use. */
  packetsIn = 0;
  readonly #host: ConnectionHost;
  readonly #handler: ConnectionHandler;
  readonly #streams = new Map<number, QuicStream>();
  readonly #readWaiters = new Set<QuicStream>();
  readonly #writeWaiters = new Set<QuicStream>();
  #nextOwn: number;
  #nextPeer: number;
  #established = false;
  #closed = false;
  #closing: Closing | undefined;
  #strayCheckAt = 0;
  #streamCredit: PromiseWithResolvers<void> | undefined;
  #local: Address;
  #peer: Address;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #timerAt = Infinity;
  /** A train that the socket did not take whole. */
  #unsent: { local: Address; peer: Address; data: Bytes; segmentSize: number } | undefined;

  constructor(
    native: NativeConnection,
    host: ConnectionHost,
    options: {
      isClient: boolean;
      egress: Egress;
      handler: ConnectionHandler;
      local: Address;
      peer: Address;
    },
  ) {
    this.native = native;
    this.#host = host;
    this.isClient = options.isClient;
    this.egress = options.egress;
    this.#handler = options.handler;
    this.#local = options.local;
    this.#peer = options.peer;
    this.#nextOwn = options.isClient ? 0 : 1;
    this.#nextPeer = options.isClient ? 1 : 0;
  }

  /** Our end of the path in use. */
  get local(): Address {
    return this.#local;
  }

  /** The other end of the path in use. */
  get peer(): Address {
    return this.#peer;
  }

  get established(): boolean {
    return this.#established;
  }

  /** Over, or about to be. */
  get closed(): boolean {
    return this.#closed || this.#closing !== undefined;
  }

  /** A server that acts on 0-RTT data just now: nothing the client says has been proven fresh. */
  get inEarlyData(): boolean {
    return this.native.isInEarlyData();
  }

  /** The handshake was shortened by a ticket. */
  get resumed(): boolean {
    return this.native.isResumed();
  }

  /** The peer's certificates, DER, its own first; `undefined` before they are known. */
  peerCertificates(): Uint8Array[] | undefined {
    return this.native.peerCertChain() ?? undefined;
  }

  /** Streams that live now. */
  get streamCount(): number {
    return this.#streams.size;
  }

  /** Round-trip time of the path in use, in milliseconds; `undefined` before it is measured. */
  rttMs(): number | undefined {
    if (this.#closed) return undefined;
    const active = this.native.pathStats().find((path) => path.active);
    return active && active.rtt > 0 ? active.rtt : undefined;
  }

  /** Opens a stream, or answers `undefined` while the peer allows no more (see {@linkcode streamCredit}). */
  openStream(): QuicStream | undefined {
    if (this.#closed) throw new TypeError("Cannot open a stream as the connection is closed");
    if (this.native.peerStreamsLeftBidi() <= 0) return undefined;
    const stream = new QuicStream(this, this.#nextOwn);
    this.#nextOwn += 4;
    // An empty write makes the engine's stream, so that its credit is spent now and not at the first byte.
    this.native.streamSend(stream.id, new Uint8Array(0), false);
    this.#streams.set(stream.id, stream);
    return stream;
  }

  /** Resolves when {@linkcode openStream} may work again, or the connection has ended. */
  streamCredit(): Promise<void> {
    if (this.#closed || this.native.peerStreamsLeftBidi() > 0) return Promise.resolve();
    this.#streamCredit ??= Promise.withResolvers();
    return this.#streamCredit.promise;
  }

  /** Queues a DATAGRAM; false when it does not fit the path or the queue is full: it is lost, as datagrams may be. */
  sendDatagram(data: Uint8Array): boolean {
    if (this.#closed || data.length > this.maxDatagram() || this.native.isDgramSendQueueFull()) {
      return false;
    }
    try {
      this.native.dgramSend(data);
    } catch {
      return false;
    }
    this.touched();
    return true;
  }

  /** Largest DATAGRAM payload for the path in use, in bytes; 0 before the peer has said that it takes any. */
  maxDatagram(): number {
    const engine = this.native.dgramMaxWritableLen() ?? 0;
    // Short header with an id of ours, packet number, AEAD tag, frame type and length.
    const overhead = 1 + 20 + 4 + 16 + 3;
    return Math.max(0, Math.min(engine, this.egress.packetSize(this.#peer) - overhead));
  }

  /** Ends the connection with an application error code and a text that the peer sees. */
  close(code = 0, text = ""): void {
    if (this.#closed || this.#closing) return;
    this.#closing = new Closing(this.native, { code, text });
    this.touched();
  }

  // --- for streams and the tunnel ---

  touched(): void {
    this.#host.wake(this);
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

  // --- for the endpoint ---

  /** One packet came. Never throws: what the engine refuses is the network's noise. */
  ingest(packet: Uint8Array, from: Address, to: Address): void {
    if (this.#closed) return;
    if (from.key === this.#peer.key) this.packetsIn++;
    try {
      this.native.recv(packet, { from, to });
    } catch {
      // Not decryptable, malformed, or of a closed connection; the engine has dealt with it.
    }
  }

  /** After a batch of packets, a timer, or early data: tell everyone what became possible. */
  process(now: number): void {
    if (this.#closed) return;
    const { native } = this;
    if (!this.#established && native.isEstablished()) {
      this.#established = true;
      this.#handler.established?.();
    }
    if (this.#handler.path || this.#established) this.#processPaths();
    if (this.#established) this.#processIds();
    if (native.isReadable()) this.#processReadable(now);
    while (native.dgramRecvQueueLen() > 0) {
      const data = native.dgramRecvVec();
      if (data === null) break;
      this.#handler.datagram?.(data);
    }
    if (this.#writeWaiters.size > 0) this.#processWritable();
    if (this.#streamCredit && native.peerStreamsLeftBidi() > 0) {
      const waiter = this.#streamCredit;
      this.#streamCredit = undefined;
      waiter.resolve();
    }
    if (native.isClosed()) this.#finish();
  }

  /**
   * Sends up to about `budget` packets; answers how many it made. Fewer than `budget` means that nothing is left to send,
   * or that the socket is full and the connection wakes itself when it is not.
   */
  flush(builder: TrainBuilder, budget: number): number {
    if (this.#closed) return 0;
    if (this.#unsent) {
      const { local, peer, data, segmentSize } = this.#unsent;
      const taken = this.egress.transmit(local, peer, data, segmentSize);
      if (taken < data.length) {
        this.#holdBack(local, peer, data.subarray(taken), segmentSize);
        return 0;
      }
      this.#unsent = undefined;
    }
    let made = 0;
    const peer = this.#peer;
    const prefix = this.egress.prefix(peer);
    const size = this.egress.packetSize(peer);
    builder.begin();
    while (made < budget) {
      let result: ReturnType<NativeConnection["send"]>;
      const room = builder.room(prefix.length, size);
      try {
        result = this.native.send(room);
      } catch {
        result = null;
      }
      if (result === null) {
        if (this.#closing?.silent(this.#streams.keys())) continue;
        break;
      }
      const [length, info] = result;
      made++;
      this.#closing?.sent(this.#streams.keys());
      if (info.to.host !== peer.host || info.to.port !== peer.port) {
        // Another path than the one before (a probe, or a migration): the packet travels alone.
        const packet = room.slice(0, length);
        const taken = this.#sendTrain(builder);
        this.#sendSingle(
          addressOf(info.from.host, info.from.port),
          addressOf(info.to.host, info.to.port),
          packet,
        );
        if (!taken) break;
        continue;
      }
      if (info.from.host !== this.#local.host || info.from.port !== this.#local.port) {
        this.#local = addressOf(info.from.host, info.from.port);
      }
      if (builder.add(prefix, length)) continue;
      // The train is whole (its last packet is shorter, or it is as long as a train may be), or this packet is too long for it.
      if (!this.#sendTrain(builder)) break;
    }
    this.#sendTrain(builder);
    this.#armTimer();
    if (this.native.isClosed()) this.#finish();
    return made;
  }

  /** The connection's path in use has changed (a migration, or the peer's NAT did it). */
  setPath(local: Address, peer: Address): void {
    this.#local = local;
    this.#peer = peer;
  }

  /** Ends at once, without telling the peer: the process is going away. */
  abandon(): void {
    if (!this.#closed) this.#finish();
  }

  #sendTrain(builder: TrainBuilder): boolean {
    for (let train = builder.take(); train; train = builder.take()) {
      const { data, segmentSize } = train;
      const taken = this.egress.transmit(this.#local, this.#peer, data, segmentSize);
      if (taken < data.length) {
        this.#holdBack(this.#local, this.#peer, data.subarray(taken), segmentSize);
        // At most one more datagram is in the builder; it is lost, and the engine sends it again.
        builder.begin();
        return false;
      }
    }
    return true;
  }

  #sendSingle(local: Address, peer: Address, packet: Uint8Array): void {
    const prefix = this.egress.prefix(peer);
    const datagram = new Uint8Array(prefix.length + packet.length);
    datagram.set(prefix);
    datagram.set(packet, prefix.length);
    // A probe that the socket cannot take now is as good as lost: the engine sends another.
    this.egress.transmit(local, peer, datagram, datagram.length);
  }

  #holdBack(local: Address, peer: Address, data: Uint8Array, segmentSize: number): void {
    this.#unsent = { local, peer, data: new Uint8Array(data), segmentSize };
    this.egress.writable().then(() => this.touched());
  }

  #processPaths(): void {
    for (;;) {
      let event: NativePathEvent | null;
      try {
        event = this.native.pathEventNext();
      } catch {
        return;
      }
      if (!event) return;
      if (event.type === "PeerMigrated") {
        this.#peer = addressOf(event.new.host, event.new.port);
      }
      this.#handler.path?.(event);
    }
  }

  #processIds(): void {
    const { native } = this;
    while (native.sourceCidsLeft() > 0) {
      const id = this.#host.register(this);
      const token = crypto.getRandomValues(new BigUint64Array(2));
      native.newSourceCid(id, token[0]! << 64n | token[1]!, false);
    }
    for (let id = native.retiredScidNext(); id; id = native.retiredScidNext()) {
      this.#host.retire(this, id);
    }
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
      if (found && now < this.#strayCheckAt) return;
    }
    this.#strayCheckAt = now + STRAY_STREAM_INTERVAL;
    for (const id of native.readable()) {
      const stream = this.#streams.get(id);
      if (stream) {
        if (this.#readWaiters.delete(stream)) stream.wakeReader();
      } else this.#accept(id);
    }
  }

  #accept(id: number): void {
    const peerOpened = (id & 1) === (this.isClient ? 1 : 0);
    if (id === this.#nextPeer) this.#nextPeer += 4;
    // Streams that are over, and streams of a kind that nobody opens, are nobody's.
    if (!peerOpened || this.#streams.has(id) || (id & 2) !== 0) return;
    if (id > this.#nextPeer) this.#nextPeer = Math.min(this.#nextPeer, id);
    const stream = new QuicStream(this, id);
    this.#streams.set(id, stream);
    this.#handler.stream?.(stream);
  }

  #processWritable(): void {
    const { native } = this;
    for (const stream of this.#writeWaiters) {
      let capacity = 1;
      try {
        capacity = native.streamCapacity(stream.id);
      } catch {
        // Stopped by the peer: wake the writer, who will find out.
      }
      if (capacity <= 0) continue;
      this.#writeWaiters.delete(stream);
      stream.wakeWriter();
    }
  }

  #armTimer(): void {
    const timeout = this.native.timeout();
    if (timeout === null) return;
    const at = performance.now() + timeout;
    // A timer that fires too early costs one look; making a new one for every packet would cost more.
    if (this.#timer !== undefined && this.#timerAt <= at) return;
    clearTimeout(this.#timer);
    this.#timerAt = at;
    this.#timer = setTimeout(() => this.#timeOut(), Math.ceil(timeout));
  }

  #timeOut(): void {
    this.#timer = undefined;
    this.#timerAt = Infinity;
    if (this.#closed) return;
    const timeout = this.native.timeout();
    if (timeout !== null && timeout <= 0) this.native.onTimeout();
    // A timer may declare packets lost, which makes room for writers.
    this.process(performance.now());
    this.touched();
  }

  #finish(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    const reason = this.#closeReason();
    for (const stream of this.#streams.values()) stream.kill();
    this.#streams.clear();
    this.#readWaiters.clear();
    this.#writeWaiters.clear();
    this.#streamCredit?.resolve();
    this.#unsent = undefined;
    this.#host.gone(this);
    this.#handler.closed?.(reason);
  }

  #closeReason(): CloseReason {
    const duringHandshake = !this.#established;
    const peer = this.native.peerError();
    const error = peer ?? this.native.localError();
    if (error) {
      return {
        by: peer ? "peer" : "local",
        code: error.errorCode,
        application: error.isApp,
        text: decodeUtf8(new Uint8Array(error.reason)),
        duringHandshake,
      };
    }
    const by = this.native.isTimedOut() ? "timeout" : "local";
    return { by, code: 0, application: false, text: "", duringHandshake };
  }
}
