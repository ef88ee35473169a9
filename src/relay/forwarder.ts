/**
 * Forwards sealed datagrams between the two ends of a tunnel: unchanged, unread, and many in one system call.
 *
 * ```
 * agent --02 id ...--> relay --the same bytes--> connector
 * ```
 *
 * Only what comes from the address that an end's control connection has now is forwarded, so nobody else can inject, and
 * the relay is no amplifier: one datagram in, the same one out.
 * @module
 */
import { type Address, fromHex, toHex, WaitingRoom } from "../core/mod.ts";
import type { UdpSocket } from "../sockets/mod.ts";

/** First byte, tunnel id, and at least one byte of packet. */
const MIN_SEALED = 10;

/** Longest train, in bytes and datagrams: what one UDP_SEGMENT call takes. */
const MAX_TRAIN_BYTES = 65_507;
const MAX_TRAIN_SEGMENTS = 64;

/** Trains that are put together at a time; more destinations in one batch of datagrams send theirs sooner. */
const MAX_OPEN_TRAINS = 16;

/** What became of sealed datagrams. */
export interface ForwarderCounters {
  datagrams: number;
  bytes: number;
  /** Of a tunnel that is not known (yet: they are kept for a moment). */
  unknownTunnel: number;
  /** Dropped: not from the address of either end. */
  wrongSource: number;
  /** Dropped: the other end is away. */
  away: number;
  /** Dropped: too short to be sealed. */
  tooShort: number;
  /** Dropped: the relay's own socket was full. */
  full: number;
}

interface Route {
  readonly tail: number;
  a: Address | undefined;
  b: Address | undefined;
  bytes: number;
}

interface Train {
  readonly buffer: Uint8Array<ArrayBuffer>;
  to: Address;
  length: number;
  segmentSize: number;
  count: number;
}

/** The relay's forwarding table, and the forwarding. */
export class Forwarder {
  readonly counters: ForwarderCounters = {
    datagrams: 0,
    bytes: 0,
    unknownTunnel: 0,
    wrongSource: 0,
    away: 0,
    tooShort: 0,
    full: 0,
  };
  readonly #socket: UdpSocket;
  readonly #routes = new Map<number, Route>();
  /** A tunnel's first packets come in the same batch as the request for it, which takes a moment to be read. */
  readonly #early = new WaitingRoom();
  readonly #open = new Map<string, Train>();
  readonly #spare: Train[] = [];

  constructor(socket: UdpSocket) {
    this.#socket = socket;
  }

  /** Forward between these two from now on; `undefined`: that end is away. */
  route(tunnelId: string, a: Address | undefined, b: Address | undefined): void {
    const id = fromHex(tunnelId)!;
    const key = keyAt(id, 0);
    const known = this.#routes.get(key);
    if (known) {
      known.a = a;
      known.b = b;
    } else this.#routes.set(key, { tail: tailAt(id, 0), a, b, bytes: 0 });
    const early = this.#early.take(tunnelId, performance.now());
    for (const { data, from } of early) this.sealed(data, data.length, from);
    if (early.length > 0) this.flush();
  }

  /** Forward nothing for this tunnel any more. */
  unroute(tunnelId: string): void {
    this.#routes.delete(keyAt(fromHex(tunnelId)!, 0));
  }

  /** Bytes forwarded for a tunnel, both ways. */
  bytesOf(tunnelId: string): number {
    return this.#routes.get(keyAt(fromHex(tunnelId)!, 0))?.bytes ?? 0;
  }

  /** A train of sealed datagrams came. Call {@linkcode flush} when all that was waiting is in. */
  sealed(data: Uint8Array, segmentSize: number, from: Address): void {
    for (let start = 0; start < data.length;) {
      const route = this.#routeAt(data, start);
      let end = Math.min(start + segmentSize, data.length);
      // Datagrams of one tunnel go on together.
      while (route && end < data.length && sameId(data, start, end)) {
        end = Math.min(end + segmentSize, data.length);
      }
      if (!route && end - start >= MIN_SEALED) {
        const id = toHex(data.subarray(start + 1, start + 9));
        this.#early.add(id, data.subarray(start, end), from, performance.now());
      }
      const datagrams = Math.ceil((end - start) / segmentSize);
      const to = this.#destination(route, from, datagrams);
      if (to) {
        route!.bytes += end - start;
        this.#forward(to, data.subarray(start, end), segmentSize, datagrams);
      }
      start = end;
    }
  }

  /** Sends what has been put together. */
  flush(): void {
    for (const train of this.#open.values()) {
      this.#send(train);
      if (this.#spare.length < MAX_OPEN_TRAINS) this.#spare.push(train);
    }
    this.#open.clear();
  }

  #routeAt(data: Uint8Array, at: number): Route | undefined {
    if (data.length - at < MIN_SEALED) {
      this.counters.tooShort++;
      return undefined;
    }
    const route = this.#routes.get(keyAt(data, at + 1));
    if (route && route.tail === tailAt(data, at + 1)) return route;
    this.counters.unknownTunnel++;
    return undefined;
  }

  #destination(route: Route | undefined, from: Address, datagrams: number): Address | undefined {
    if (!route) return undefined;
    let to: Address | undefined;
    if (from.key === route.a?.key) to = route.b;
    else if (from.key === route.b?.key) to = route.a;
    else {
      this.counters.wrongSource += datagrams;
      return undefined;
    }
    if (!to) this.counters.away += datagrams;
    return to;
  }

  #forward(to: Address, data: Uint8Array, segmentSize: number, datagrams: number): void {
    this.counters.datagrams += datagrams;
    this.counters.bytes += data.length;
    let train = this.#open.get(to.key);
    if (datagrams > 1) {
      // Already a train: as it is, behind what is waiting.
      if (train) this.#send(train);
      const taken = this.#socket.send(to, data, segmentSize);
      if (taken < data.length) {
        this.counters.full += Math.ceil((data.length - taken) / segmentSize);
      }
      return;
    }
    if (
      train && train.length > 0 &&
      (data.length > train.segmentSize || train.count === MAX_TRAIN_SEGMENTS ||
        train.length % train.segmentSize !== 0 || train.length + data.length > MAX_TRAIN_BYTES)
    ) {
      this.#send(train);
    }
    if (!train) {
      if (this.#open.size >= MAX_OPEN_TRAINS) this.flush();
      train = this.#spare.pop() ??
        { buffer: new Uint8Array(65_536), to, length: 0, segmentSize: 0, count: 0 };
      train.to = to;
      this.#open.set(to.key, train);
    }
    if (train.length === 0) train.segmentSize = data.length;
    train.buffer.set(data, train.length);
    train.length += data.length;
    train.count++;
  }

  #send(train: Train): void {
    if (train.length === 0) return;
    const data = train.buffer.subarray(0, train.length);
    const taken = this.#socket.send(train.to, data, train.segmentSize);
    if (taken < data.length) {
      this.counters.full += Math.ceil((data.length - taken) / train.segmentSize);
    }
    train.length = train.count = 0;
  }
}

/** The first 48 bits of a tunnel id: exact in a double. */
function keyAt(bytes: Uint8Array, at: number): number {
  return (bytes[at]! * 0x1000000 + (bytes[at + 1]! << 16 | bytes[at + 2]! << 8 | bytes[at + 3]!)) *
      0x10000 + (bytes[at + 4]! << 8 | bytes[at + 5]!);
}

/** Its last 16 bits. */
function tailAt(bytes: Uint8Array, at: number): number {
  return bytes[at + 6]! << 8 | bytes[at + 7]!;
}

function sameId(bytes: Uint8Array, a: number, b: number): boolean {
  if (bytes.length - b < MIN_SEALED) return false;
  for (let i = 1; i <= 8; i++) if (bytes[a + i] !== bytes[b + i]) return false;
  return true;
}
