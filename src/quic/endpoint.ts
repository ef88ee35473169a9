/**
 * All QUIC connections of a process: finds the connection of a packet, gives each its turn to send, and goes back to the
 * event loop often enough. It owns no socket: roles wire sockets to {@linkcode QuicEndpoint.ingest}.
 * @module
 */
import { setImmediate } from "node:timers";
import { type Address, toHex } from "../core/mod.ts";
import { LoopTurn } from "../sockets/mod.ts";
import { type ConnectionHost, QuicConnection } from "./connection.ts";
import type { ConnectionHandler, Egress } from "./connection_types.ts";
import { CONNECTION_ID_LENGTH, connectionIdKey, isInitial, packetKey } from "./connection_id.ts";
import { EngineConnection, type NativeConfig } from "./engine.ts";
import { type NewcomerLimits, Newcomers } from "./newcomers.ts";
import { TrainBuilder } from "./train_builder.ts";

/**
 * THE event-loop rule. Each packet that the engine makes is a native object whose finalizer runs on the event loop only:
 * a loop that makes thousands without going back piles them up, and the cost per packet grows from 4 to 70 µs. So after
 * this many packets, over all connections, the rest waits for the next turn.
 */
const PACKETS_PER_TURN = 96;

/** Connections that a process holds at most; beyond it newcomers' packets are dropped, and counted. */
const MAX_CONNECTIONS = 20_000;

/** What an owner gives for a connection that it wants or accepts. */
export interface ConnectionOptions {
  readonly config: NativeConfig;
  readonly egress: Egress;
  readonly local: Address;
  readonly peer: Address;
  readonly handler: ConnectionHandler;
}

/** Decides about a newcomer: what it gives is accepted, `undefined` drops the packet without an answer. */
export type Acceptor = (
  packet: Uint8Array,
  from: Address,
  local: Address,
) => AcceptOptions | undefined;

/** How to accept a newcomer. The handler is made once the connection is there. */
export interface AcceptOptions {
  readonly config: NativeConfig;
  readonly egress: Egress;
  readonly handler: (connection: QuicConnection) => ConnectionHandler;
}

/** What an endpoint has counted. */
export interface EndpointCounters {
  /** Packets whose connection nobody knows. */
  unknownConnection: number;
  /** Packets that are no QUIC v1 packets. */
  malformed: number;
  /** Newcomers turned away as the process holds as many connections or handshakes as it may. */
  full: number;
  /** Newcomers asked to show first that they are where they say. */
  retried: number;
}

/** The QUIC connections of one process. */
export class QuicEndpoint implements ConnectionHost {
  readonly counters: EndpointCounters = {
    unknownConnection: 0,
    malformed: 0,
    full: 0,
    retried: 0,
  };
  readonly #byKey = new Map<number, QuicConnection>();
  readonly #keysOf = new Map<QuicConnection, Set<number>>();
  /** Woken connections, in the order in which they get their turn. */
  readonly #awake = new Set<QuicConnection>();
  /** Connections that packets came for in this batch. */
  readonly #touched = new Set<QuicConnection>();
  readonly #builder = new TrainBuilder();
  readonly #loopTurn = new LoopTurn();
  readonly #newcomers: Newcomers;
  #acceptor: Acceptor | undefined;
  #unknown: ((packet: Uint8Array, from: Address) => void) | undefined;
  #scheduled = false;
  #madeThisTurn = 0;
  #turnPending = false;

  constructor(options: { newcomers?: NewcomerLimits } = {}) {
    this.#newcomers = new Newcomers(options.newcomers);
  }

  /** Handshakes that others have begun and not finished. */
  get handshakes(): number {
    return this.#newcomers.count;
  }

  /**
   * Starts accepting newcomers.
   *
   * @param options.unknown gets packets in the middle of connections that nobody here knows
   */
  listen(
    acceptor: Acceptor,
    options: { unknown?: (packet: Uint8Array, from: Address) => void } = {},
  ): void {
    this.#acceptor = acceptor;
    this.#unknown = options.unknown;
  }

  /** Number of connections. */
  get size(): number {
    return this.#keysOf.size;
  }

  get connections(): Iterable<QuicConnection> {
    return this.#keysOf.keys();
  }

  /**
   * Starts a connection as client. With `session` (from an earlier connection's `native.session()`) it offers 0-RTT.
   * Without `serverName` the engine checks the certificate's chain only, and the owner has to check its name.
   *
   * @throws {RangeError} where the process holds as many connections as it may
   */
  connect(
    options: ConnectionOptions & { serverName?: string; session?: Uint8Array },
  ): QuicConnection {
    if (this.size >= MAX_CONNECTIONS) {
      throw new RangeError(`Cannot open a connection as ${MAX_CONNECTIONS} are open`);
    }
    const id = this.#newId();
    const native = EngineConnection.connect(
      options.serverName ?? null,
      id,
      options.local,
      options.peer,
      options.config,
    );
    const connection = new QuicConnection(native, this, { ...options, isClient: true });
    this.#add(connection, connectionIdKey(id, 0));
    if (options.session) {
      try {
        native.setSession(options.session);
      } catch {
        // A ticket that the engine cannot read: a full handshake does as well.
      }
    }
    // The engine takes early data only behind its first packet.
    if (options.session) this.#madeThisTurn += connection.flush(this.#builder, PACKETS_PER_TURN);
    this.wake(connection);
    return connection;
  }

  /**
   * Accepts the connection whose first packet this is. Answers `undefined` where the packet is no connection's first, or
   * there is no room.
   */
  accept(
    packet: Uint8Array,
    from: Address,
    local: Address,
    options: AcceptOptions,
    retried?: { id: Uint8Array; original: Uint8Array },
  ): QuicConnection | undefined {
    if (!isInitial(packet)) {
      this.counters.malformed++;
      return undefined;
    }
    if (this.size >= MAX_CONNECTIONS) {
      this.counters.full++;
      return undefined;
    }
    const id = retried?.id ?? this.#newId();
    const native = EngineConnection.accept(id, retried?.original, local, from, options.config);
    // The handler wants the connection, and the connection the handler: it is looked up at each call.
    let handler: ConnectionHandler = {};
    const connection = new QuicConnection(native, this, {
      isClient: false,
      egress: options.egress,
      local,
      peer: from,
      handler: {
        established: () => handler.established?.(),
        stream: (stream) => handler.stream?.(stream),
        datagram: (data) => handler.datagram?.(data),
        path: (event) => handler.path?.(event),
        closed: (reason) => handler.closed?.(reason),
      },
    });
    this.#add(connection, connectionIdKey(id, 0));
    // Until the client has seen our id it writes to the one that it made up.
    const initialKey = packetKey(packet);
    if (initialKey !== undefined && !this.#byKey.has(initialKey)) {
      this.#addKey(connection, initialKey);
    }
    // Copies of what it sent before it was sent away for a token may still come: they are this connection's, and of no use to it.
    if (retried && retried.original.length >= CONNECTION_ID_LENGTH) {
      const originalKey = connectionIdKey(retried.original, 0);
      if (!this.#byKey.has(originalKey)) this.#addKey(connection, originalKey);
    }
    handler = options.handler(connection);
    this.deliver(connection, packet, from, local);
    return connection;
  }

  /** One train of QUIC packets came. Call {@linkcode batchEnd} when all that was waiting is in. */
  ingest(data: Uint8Array, segmentSize: number, from: Address, local: Address): void {
    for (let offset = 0; offset < data.length; offset += segmentSize) {
      const packet = segmentSize >= data.length
        ? data
        : data.subarray(offset, offset + segmentSize);
      const key = packetKey(packet);
      if (key === undefined) {
        this.counters.malformed++;
        continue;
      }
      const connection = this.#byKey.get(key);
      if (connection) this.deliver(connection, packet, from, local);
      else this.#stranger(packet, from, local);
    }
  }

  /** A packet whose connection is known by other means (a tunnel's id). */
  deliver(connection: QuicConnection, packet: Uint8Array, from: Address, local: Address): void {
    connection.ingest(packet, from, local);
    this.#touched.add(connection);
  }

  /** All that was waiting is in: act on it and answer. */
  batchEnd(): void {
    if (this.#touched.size === 0) return;
    const now = performance.now();
    for (const connection of this.#touched) {
      connection.process(now);
      this.#awake.add(connection);
    }
    this.#touched.clear();
    this.#schedule();
  }

  wake(connection: QuicConnection): void {
    this.#awake.add(connection);
    this.#schedule();
  }

  /** Sends what a connection has to say now, not at the end of the turn: for first flights, behind which much is computed. */
  sendNow(connection: QuicConnection): void {
    const budget = PACKETS_PER_TURN - this.#madeThisTurn;
    if (budget > 0) this.#madeThisTurn += connection.flush(this.#builder, budget);
    this.#nextTurn();
  }

  register(connection: QuicConnection): Uint8Array {
    const id = this.#newId();
    this.#addKey(connection, connectionIdKey(id, 0));
    return id;
  }

  retire(connection: QuicConnection, id: Uint8Array): void {
    const key = connectionIdKey(id, 0);
    this.#byKey.delete(key);
    this.#keysOf.get(connection)?.delete(key);
  }

  gone(connection: QuicConnection): void {
    for (const key of this.#keysOf.get(connection) ?? []) this.#byKey.delete(key);
    this.#keysOf.delete(connection);
    this.#awake.delete(connection);
    this.#touched.delete(connection);
  }

  /**
   * Closes every connection, and gives what they still have to say some time to leave. Finish with {@linkcode close}.
   *
   * @param options.withinMs enough for a round trip, after which a full congestion window has room again
   * @param options.except left open: the one that carries the others, for one
   */
  async closeInOrder(
    text: string,
    options: { withinMs: number; except?: QuicConnection | undefined },
  ): Promise<void> {
    const others = [...this.connections].filter((connection) => connection !== options.except);
    for (const connection of others) connection.close(0, text);
    const until = performance.now() + options.withinMs;
    while (others.some((one) => this.#keysOf.has(one)) && performance.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Closes every connection and sends what that takes just now. */
  close(text: string): void {
    for (const connection of [...this.connections]) connection.close(0, text);
    this.#turn();
    for (const connection of [...this.connections]) connection.abandon();
    this.#loopTurn.close();
  }

  #stranger(packet: Uint8Array, from: Address, local: Address): void {
    const options = isInitial(packet) ? this.#acceptor?.(packet, from, local) : undefined;
    if (!options) {
      this.counters.unknownConnection++;
      if ((packet[0]! & 0x80) === 0) this.#unknown?.(packet, from);
      return;
    }
    const verdict = this.#newcomers.judge(packet, from, Date.now());
    if (verdict.type === "drop") this.counters[verdict.why]++;
    else if (verdict.type === "retry") {
      this.counters.retried++;
      // Smaller than what it answers, so nobody is flooded through us; where the socket is full it is lost.
      const { datagram } = verdict;
      options.egress.transmit(local, from, datagram, datagram.length);
    } else this.#admit(packet, from, local, { options, retried: verdict.retried });
  }

  #admit(
    packet: Uint8Array,
    from: Address,
    local: Address,
    how: { options: AcceptOptions; retried: { id: Uint8Array; original: Uint8Array } | undefined },
  ): void {
    const { options, retried } = how;
    let ended: (certificate?: Uint8Array) => void = () => {};
    const connection = this.accept(packet, from, local, {
      ...options,
      handler: (connection) => {
        const handler = options.handler(connection);
        return {
          ...handler,
          established: () => {
            ended(connection.peerCertificates()?.[0]);
            handler.established?.();
          },
          closed: (reason) => {
            ended();
            handler.closed?.(reason);
          },
        };
      },
    }, retried);
    if (!connection || connection.closed) return;
    ended = this.#newcomers.begin(from.host, () => connection.abandon());
  }

  #newId(): Uint8Array {
    const id = new Uint8Array(CONNECTION_ID_LENGTH);
    do crypto.getRandomValues(id); while (this.#byKey.has(connectionIdKey(id, 0)));
    return id;
  }

  #add(connection: QuicConnection, key: number): void {
    this.#keysOf.set(connection, new Set());
    this.#addKey(connection, key);
  }

  #addKey(connection: QuicConnection, key: number): void {
    this.#byKey.set(key, connection);
    this.#keysOf.get(connection)?.add(key);
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    // Answers leave at the end of the same turn, so a small exchange waits for nothing; bulk waits for the next turn.
    if (this.#madeThisTurn < PACKETS_PER_TURN) queueMicrotask(() => this.#turn());
    else this.#nextTurn();
  }

  #nextTurn(): void {
    if (this.#turnPending) return;
    this.#turnPending = true;
    const begin = () => {
      this.#turnPending = false;
      this.#madeThisTurn = 0;
      if (this.#scheduled) this.#turn();
    };
    // In bulk every turn must let the acknowledgements in, which `setImmediate` after `setImmediate` does not.
    if (this.#madeThisTurn >= PACKETS_PER_TURN) void this.#loopTurn.next().then(begin);
    else setImmediate(begin);
  }

  #turn(): void {
    this.#scheduled = false;
    for (const connection of this.#awake) {
      const budget = PACKETS_PER_TURN - this.#madeThisTurn;
      if (budget <= 0) break;
      // Taken out and, where it has more to say, put in again behind the others: round robin.
      this.#awake.delete(connection);
      const made = connection.flush(this.#builder, budget);
      this.#madeThisTurn += made;
      if (made > 0) this.#nextTurn();
      if (made >= budget) this.#awake.add(connection);
    }
    if (this.#awake.size > 0) {
      this.#scheduled = true;
      if (this.#madeThisTurn < PACKETS_PER_TURN) queueMicrotask(() => this.#turn());
      else this.#nextTurn();
    }
  }

  /** A name for logs: the first of a connection's ids. */
  static nameOf(connection: QuicConnection): string {
    return toHex(connection.native.sourceId()).slice(0, 8);
  }
}
