/**
 * One QUIC connection: the engine's state, its streams, its datagrams, and the packets it wants sent.
 * It owns no socket: packets come in through {@linkcode QuicConnection.ingest} and leave through its {@linkcode Egress}.
 * @module
 */
import { type Address, addressOf } from "../core/mod.ts";
import { closeReasonOf } from "./close_reason.ts";
import { Closing } from "./closing.ts";
import type { ConnectionHandler, Egress } from "./connection_types.ts";
import type { NativeConnection, NativePathEvent } from "./engine.ts";
import { EngineTimer } from "./engine_timer.ts";
import { FailedPaths } from "./failed_paths.ts";
import { keyOfPath, LeftPaths, type PathOfConnection } from "./left_paths.ts";
import { behindLongHeaders } from "./long_header_codec.ts";
import { PacketSender } from "./packet_sender.ts";
import type { QuicStream } from "./stream.ts";
import { StreamTable } from "./stream_table.ts";
import type { TrainBuilder } from "./train_builder.ts";

/** What a connection needs of its endpoint. */
export interface ConnectionHost {
  /** Packets may want to leave. */
  wake(connection: QuicConnection): void;
  /** Packets leave at once. */
  sendNow(connection: QuicConnection): void;
  /** Gives the connection one more id that the peer may use. */
  register(connection: QuicConnection): Uint8Array;
  retire(connection: QuicConnection, id: Uint8Array): void;
  /** It is over. */
  gone(connection: QuicConnection): void;
}

/** Connection ids that a peer gets at first: one in use, one for a probe, one for the way back, one spare. */
const FIRST_IDS = 4;

/** One QUIC connection. Made by `QuicEndpoint`. */
export class QuicConnection {
  readonly native: NativeConnection;
  readonly isClient: boolean;
  /** Where packets go; a tunnel changes its mind about this. */
  readonly egress: Egress;
  /** Packets that came on the path in use. */
  packetsIn = 0;
  #packetsSeen = 0;
  /** From where a packet is waited for. */
  #listening: { readonly key: string; heard: boolean } | undefined;
  readonly #host: ConnectionHost;
  readonly #handler: ConnectionHandler;
  readonly #streams: StreamTable;
  readonly #sender: PacketSender;
  readonly #timer: EngineTimer;
  readonly #left: LeftPaths;
  readonly #failed: FailedPaths;
  /** Connection ids of the peer's that no path uses. */
  #spareIds = 0;
  /** Connection ids that the peer shall hold of ours; grows with each path that has used one up. */
  #idsWanted = FIRST_IDS;
  #established = false;
  #closed = false;

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
    this.#streams = new StreamTable({
      native,
      isClient: options.isClient,
      touched: () => this.touched(),
      wrote: (bytes) => this.#sender.wrote(bytes),
      wroteLittle: () => this.#sender.wroteLittle(),
      bulkRoom: () => this.#sender.bulkRoom(),
      awaitRoom: () => this.#sender.awaitRoom(),
      lookAgain: () => this.#lookAgain(),
      opened: (stream) => this.#handler.stream?.(stream),
    });
    this.#left = new LeftPaths(native, () => this.touched());
    this.#failed = new FailedPaths(native);
    this.#sender = new PacketSender({
      ...options,
      native,
      left: this.#left,
      wake: () => this.touched(),
      paced: () => this.#lookAgain(),
      streamIds: () => this.#streams.ids(),
    });
    this.#timer = new EngineTimer(native, () => {
      this.#sender.timerFired();
      this.#lookAgain();
    });
  }

  /** Our end of the path in use. */
  get local(): Address {
    return this.#sender.local;
  }

  /** The other end of the path in use. */
  get peer(): Address {
    return this.#sender.peer;
  }

  get established(): boolean {
    return this.#established;
  }

  /** Over, or about to be. */
  get closed(): boolean {
    return this.#closed || this.#sender.closing !== undefined;
  }

  /** A server that acts on 0-RTT data just now: nothing the client says has been proven fresh. */
  get inEarlyData(): boolean {
    return this.native.isInEarlyData();
  }

  /** The handshake was shortened by a ticket. */
  get resumed(): boolean {
    return this.native.isResumed();
  }

  /** Client: the newest ticket for coming back; `undefined` while the server has sent none. The array is the caller's. */
  ticket(): Uint8Array | undefined {
    const session = this.closed ? null : this.native.session();
    return session ? Uint8Array.from(session) : undefined;
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
    return active && measured(active.rtt);
  }

  #rttOf({ local, peer }: { local: Address; peer: Address }): number | undefined {
    const path = this.native.pathStats().find(({ localHost, peerHost }) =>
      peerHost.host === peer.host && peerHost.port === peer.port && localHost.port === local.port
    );
    return path && measured(path.rtt);
  }

  /** Opens a stream, or answers `undefined` while the peer allows no more (see {@linkcode streamCredit}). */
  openStream(): QuicStream | undefined {
    if (this.#closed) throw new TypeError("Cannot open a stream as the connection is closed");
    return this.#streams.open();
  }

  /** Resolves when {@linkcode openStream} may work again, or the connection has ended. */
  streamCredit(): Promise<void> {
    return this.#streams.credit();
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
    this.#sender.urgent();
    this.touched();
    return true;
  }

  /** Drops DATAGRAMs that wait to be sent and are longer than this: behind one that does not fit, nothing moves. */
  purgeDatagrams(maxLength: number): void {
    if (!this.#closed) this.native.dgramPurgeOutgoing((data) => data.length > maxLength);
  }

  /** Largest DATAGRAM payload for the path in use, in bytes; 0 before the peer has said that it takes any. */
  maxDatagram(): number {
    const engine = this.native.dgramMaxWritableLen() ?? 0;
    // Short header with an id of ours, packet number, AEAD tag, frame type and length.
    const overhead = 1 + 20 + 4 + 16 + 3;
    return Math.max(0, Math.min(engine, this.egress.packetSize(this.peer) - overhead));
  }

  /** Ends the connection with an application error code and a text that the peer sees. */
  close(code = 0, text = ""): void {
    if (this.closed) return;
    this.#sender.closing = new Closing(this.native, { code, text });
    this.touched();
  }

  /** Something was done with the engine: packets may want to leave. */
  touched(): void {
    this.#host.wake(this);
  }

  /**
   * What there is to say leaves at once, and not behind whatever else this turn of the event loop still does: for the last word
   * of a handshake, which the other end waits for.
   */
  hurry(): void {
    if (this.closed) return;
    this.#processIds();
    this.#host.sendNow(this);
  }

  // --- for the endpoint ---

  /** One packet came. Never throws: what the engine refuses is the network's noise. */
  ingest(packet: Uint8Array, from: Address, to: Address): void {
    if (this.#closed) return;
    if (from.key === this.#sender.peer.key) this.packetsIn++;
    else {
      if (from.key === this.#listening?.key) this.#listening.heard = true;
      if (!this.#left.none) this.#left.heardFrom(from, performance.now());
    }
    // A server has no keys for them any more when its handshake is over, and the engine throws away what follows them, too: an
    // answer to its own challenge, say, of a client that has not heard yet that the handshake is over.
    if (this.#established && !this.isClient && (packet[0]! & 0x80) !== 0) {
      packet = behindLongHeaders(packet);
      if (packet.length === 0) return;
    }
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
      if (this.#closed) return;
    }
    if (this.#handler.path || this.#established) this.#processPaths();
    if (this.#listening?.heard) {
      this.#listening = undefined;
      this.#handler.heard?.();
    }
    // A server may hand out ids as soon as it may speak at all, so that the client can move that much sooner.
    if (this.#established || this.inEarlyData) this.#processIds();
    if (this.packetsIn !== this.#packetsSeen) {
      if (!this.#left.none) this.#left.heard(now);
      this.#sender.heard(now);
    }
    this.#packetsSeen = this.packetsIn;
    this.#streams.process(now);
    while (native.dgramRecvQueueLen() > 0) {
      const data = native.dgramRecvVec();
      if (data === null) break;
      this.#handler.datagram?.(data);
    }
    if (native.isClosed()) this.#finish();
  }

  /**
   * Sends up to about `budget` packets; answers how many it made. Fewer than `budget` means that nothing is left to send,
   * or that the socket is full and the connection wakes itself when it is not.
   */
  flush(builder: TrainBuilder, budget: number): number {
    if (this.#closed) return 0;
    const made = this.#sender.flush(builder, budget);
    // Where early data was refused, the engine goes on with the handshake when it sends, not when it receives.
    if (!this.#established && this.native.isEstablished()) this.process(performance.now());
    this.#timer.arm();
    if (this.native.isClosed()) this.#finish();
    return made;
  }

  /** The connection's path in use has changed (a migration, or the peer's NAT did it). */
  setPath(local: Address, peer: Address, from?: PathOfConnection): void {
    const left = from ?? { local: this.local, peer: this.peer };
    const rtt = this.#rttOf(left);
    this.#left.moved(left, { local, peer }, { now: performance.now(), ...(rtt ? { rtt } : {}) });
    this.#sender.local = local;
    this.#sender.peer = peer;
  }

  /** The path that was left last is dead: what is lost there is found out a round trip sooner than by itself. */
  leftPathDied(): void {
    if (this.#closed) return;
    // A client has to wait for a round trip, whatever it sends meanwhile.
    if (!this.isClient) this.#sender.awaitLosses();
    if (this.#left.died(performance.now())) this.touched();
  }

  /** That path is asked, on itself, whether it may be used. */
  asked(local: Address, peer: Address): void {
    this.#left.asked({ local, peer }, performance.now());
  }

  /** Tells the handler when the next packet comes from there, which is not where the path in use leads. */
  listenFor(peer: Address): void {
    this.#listening = { key: peer.key, heard: false };
  }

  /** The connection has one more path: it has used up a connection id at either end. */
  pathAdded(): void {
    this.#idsWanted++;
  }

  /** Ends at once, without telling the peer: the process is going away. */
  abandon(): void {
    if (!this.#closed) this.#finish();
  }

  #processPaths(): void {
    let failed: PathOfConnection | undefined;
    for (;;) {
      let event: NativePathEvent | null;
      try {
        event = this.native.pathEventNext() as NativePathEvent | null;
      } catch {
        return;
      }
      if (!event) return;
      if (event.type === "New") this.pathAdded();
      // A client would have to ask anew there; a server cannot, and may be sent to from there all the same.
      if (event.type === "FailedValidation" && !this.isClient) {
        const renamed = this.#failed.add(event);
        this.#left.rename(renamed);
        if (renamed.from === keyOfPath(this)) failed = renamed;
      }
      if (event.type === "PeerMigrated") {
        // The engine names the new path's two ends, ours first, whatever the fields are called.
        this.setPath(
          addressOf(event.old.host, event.old.port),
          addressOf(event.new.host, event.new.port),
          // The engine itself goes elsewhere when the path in use has failed.
          failed,
        );
        failed = undefined;
      }
      this.#handler.path?.(event);
    }
  }

  #processIds(): void {
    const { native } = this;
    while (native.activeSourceCids() < this.#idsWanted && native.sourceCidsLeft() > 0) {
      const id = this.#host.register(this);
      const token = crypto.getRandomValues(new BigUint64Array(2));
      native.newSourceCid(id, token[0]! << 64n | token[1]!, false);
    }
    for (let id = native.retiredScidNext(); id; id = native.retiredScidNext()) {
      this.#host.retire(this, id);
    }
    const before = this.#spareIds;
    this.#spareIds = native.availableDcids();
    if (this.#spareIds > before) this.#handler.idsGiven?.();
  }

  /** Something may have become possible without a packet: a timer that declares packets lost makes room for writers. */
  #lookAgain(): void {
    if (this.#closed) return;
    this.process(performance.now());
    this.touched();
  }

  #finish(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer.stop();
    this.#left.stop();
    const reason = closeReasonOf(this.native, !this.#established);
    this.#streams.end();
    this.#sender.drop();
    this.#host.gone(this);
    this.#handler.closed?.(reason);
  }
}

/** Before the first answer on a path the engine tells its guess (RFC 9002 §6.2.2). */
const INITIAL_RTT = 333;

function measured(rtt: number): number | undefined {
  return rtt > 0 && rtt !== INITIAL_RTT ? rtt : undefined;
}
