/**
 * Sockets without a system: the in-memory twin for tests. Everything is deterministic; nothing happens by itself
 * unless asked for.
 * @module
 */
import { type Address, addressOf, type Bytes, UserError } from "../core/mod.ts";
import { checkTrain, datagramsIn } from "./train.ts";
import { type DatagramHandler, newCounters, type UdpSocket } from "./udp_socket.ts";

/** Trains under way in one network. What is sent beyond is lost, as in any network. */
const MAX_QUEUED = 65_536;

/** Rounds of one `flush`: two sockets that answer each other for ever end in an error, not in a hang. */
const MAX_ROUNDS = 100_000;

/** First port given to a socket that asks for port 0 (RFC 6335 §6: the dynamic range). */
const FIRST_DYNAMIC_PORT = 49_152;

/** How a {@linkcode MemoryNetwork} behaves. */
export interface MemoryNetworkOptions {
  /**
   * Asked for each datagram; `false` loses it. To delay, reorder, duplicate or readdress one: copy it, answer
   * `false`, and {@linkcode MemoryNetwork.inject} it when its time has come. @default delivers all
   */
  readonly pass?: (from: Address, to: Address, datagram: Uint8Array) => boolean;
  /** Deliver by microtask as soon as something was sent, instead of on `flush()`. @default false */
  readonly automatic?: boolean;
}

interface Train {
  readonly from: Address;
  readonly to: Address;
  readonly data: Bytes;
  readonly segmentSize: number;
}

/** A network of {@linkcode UdpSocket}s in memory. */
export class MemoryNetwork {
  readonly #pass: (from: Address, to: Address, datagram: Uint8Array) => boolean;
  readonly #automatic: boolean;
  readonly #sockets = new Map<string, MemorySocket>();
  #queue: Train[] = [];
  #nextPort = FIRST_DYNAMIC_PORT;
  #scheduled = false;
  /** Datagrams lost: refused by `pass`, sent to nobody, or beyond the bound. */
  lost = 0;

  constructor(options: MemoryNetworkOptions = {}) {
    this.#pass = options.pass ?? (() => true);
    this.#automatic = options.automatic ?? false;
  }

  /**
   * A socket at `host`:`port` (0: the next free one).
   *
   * @param options.capacity datagrams of this socket under way before `send` takes no more. @default no bound of its own
   * @throws {UserError} where the address is taken
   */
  open(host: string, port: number, options: { capacity?: number } = {}): UdpSocket {
    const wanted = port || this.#freePort(host);
    const local = addressOf(host, wanted);
    if (this.#sockets.has(local.key)) {
      throw new UserError(`Cannot listen on UDP ${local.key} as another socket uses it`);
    }
    const socket = new MemorySocket(local, {
      capacity: options.capacity ?? Infinity,
      enqueue: (train) => this.#enqueue(train),
      closed: () => this.#sockets.delete(local.key),
    });
    this.#sockets.set(local.key, socket);
    return socket;
  }

  #freePort(host: string): number {
    while (this.#sockets.has(addressOf(host, this.#nextPort).key)) this.#nextPort++;
    return this.#nextPort++;
  }

  /** Puts one datagram into the network, past the `pass` hook. */
  inject(from: Address, to: Address, datagram: Uint8Array): void {
    if (datagram.length > 0) {
      this.#push({ from, to, data: datagram.slice(), segmentSize: datagram.length });
    }
  }

  /** Delivers what is under way now, but not what is sent in answer; how many datagrams arrived. */
  step(): number {
    const queue = this.#queue;
    this.#queue = [];
    const touched = new Set<MemorySocket>();
    let delivered = 0;
    for (const train of queue) {
      const count = datagramsIn(train.data.length, train.segmentSize);
      this.#sockets.get(train.from.key)?.left(count);
      const socket = this.#sockets.get(train.to.key);
      if (socket?.deliver(train)) {
        delivered += count;
        touched.add(socket);
      } else this.lost += count;
    }
    for (const socket of touched) socket.batchEnd();
    return delivered;
  }

  /** Delivers until nothing is under way; how many datagrams arrived. */
  flush(): number {
    let delivered = 0;
    for (let round = 0; this.#queue.length > 0; round++) {
      if (round === MAX_ROUNDS) {
        throw new RangeError(
          `Cannot flush as sockets still answer each other after ${round} rounds`,
        );
      }
      delivered += this.step();
    }
    return delivered;
  }

  #enqueue(train: Train): void {
    const { from, to, data, segmentSize } = train;
    const kept: Uint8Array[] = [];
    let keptBytes = 0;
    for (let at = 0; at < data.length; at += segmentSize) {
      const datagram = data.subarray(at, at + segmentSize);
      if (!this.#pass(from, to, datagram)) {
        this.lost++;
        this.#sockets.get(from.key)?.left(1);
        continue;
      }
      kept.push(datagram);
      keptBytes += datagram.length;
    }
    if (keptBytes === 0) return;
    if (keptBytes === data.length) return this.#push(train);
    const rest = new Uint8Array(keptBytes);
    let offset = 0;
    for (const datagram of kept) {
      rest.set(datagram, offset);
      offset += datagram.length;
    }
    this.#push({ from, to, data: rest, segmentSize: Math.min(segmentSize, keptBytes) });
  }

  #push(train: Train): void {
    if (this.#queue.length >= MAX_QUEUED) {
      const count = datagramsIn(train.data.length, train.segmentSize);
      this.lost += count;
      this.#sockets.get(train.from.key)?.left(count);
      return;
    }
    this.#queue.push(train);
    if (!this.#automatic || this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      // One round only: what is sent in answer schedules the next, so that others get their turn between.
      this.step();
    });
  }
}

interface MemorySocketOptions {
  readonly capacity: number;
  readonly enqueue: (train: Train) => void;
  readonly closed: () => void;
}

class MemorySocket implements UdpSocket {
  readonly kind = "memory";
  readonly local: Address;
  readonly counters = newCounters();
  readonly #options: MemorySocketOptions;
  #handler: DatagramHandler | undefined;
  #underWay = 0;
  #room: PromiseWithResolvers<void> | undefined;
  #closed = false;

  constructor(local: Address, options: MemorySocketOptions) {
    this.local = local;
    this.#options = options;
  }

  receive(handler: DatagramHandler): void {
    if (this.#handler) throw new TypeError("Cannot receive twice on one socket");
    this.#handler = handler;
  }

  send(to: Address, data: Uint8Array, segmentSize: number): number {
    checkTrain(data, segmentSize);
    if (data.length === 0 || this.#closed) return data.length;
    const room = this.#options.capacity - this.#underWay;
    const count = Math.min(datagramsIn(data.length, segmentSize), room);
    const taken = Math.min(data.length, count * segmentSize);
    if (taken < data.length) this.counters.sendBlocked++;
    if (taken === 0) return 0;
    this.#underWay += count;
    this.counters.datagramsOut += count;
    this.counters.bytesOut += taken;
    this.#options.enqueue({
      from: this.local,
      to,
      data: data.slice(0, taken),
      segmentSize: Math.min(segmentSize, taken),
    });
    return taken;
  }

  writable(): Promise<void> {
    if (this.#closed || this.#underWay < this.#options.capacity) return Promise.resolve();
    this.#room ??= Promise.withResolvers();
    return this.#room.promise;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#options.closed();
    this.#room?.resolve();
  }

  /** For the network: so many of this socket's datagrams are no longer under way. */
  left(count: number): void {
    this.#underWay = Math.max(0, this.#underWay - count);
    this.#room?.resolve();
    this.#room = undefined;
  }

  /** For the network: a train arrives; `false` where nobody listens. */
  deliver({ data, segmentSize, from }: Train): boolean {
    if (this.#closed || !this.#handler) return false;
    this.counters.datagramsIn += datagramsIn(data.length, segmentSize);
    this.counters.bytesIn += data.length;
    this.#handler.datagrams(data, segmentSize, from);
    return true;
  }

  /** For the network: that was all for now. */
  batchEnd(): void {
    if (!this.#closed) this.#handler?.batchEnd();
  }
}
