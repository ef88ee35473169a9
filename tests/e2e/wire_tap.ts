/**
 * Somebody who listens right before the relay: every datagram and every TCP byte between clients and relay passes here,
 * as it passes the relay itself.
 * @module
 */
import type { Stage } from "./stage.ts";

/** One datagram as it went by. */
export interface TappedDatagram {
  readonly toRelay: boolean;
  readonly data: Uint8Array;
}

/** A datagram to the relay, and the socket that stands for its client there. */
export interface HeldDatagram {
  readonly data: Uint8Array;
  readonly socket: Deno.DatagramConn;
}

/** Stands where clients believe the relay to be, and passes everything on to `relayPort`. */
export class WireTap implements AsyncDisposable {
  /** Where clients shall look for the relay. */
  readonly port: number;
  readonly datagrams: TappedDatagram[] = [];
  /** TCP, both ways, in the order it came. */
  readonly tcp: Uint8Array[] = [];
  readonly #relayPort: number;
  readonly #udp: Deno.DatagramConn;
  readonly #listener: Deno.Listener;
  readonly #upstream = new Map<string, Deno.DatagramConn>();
  readonly #conns = new Set<Deno.Conn>();
  readonly #running: Promise<unknown>[] = [];
  /** Kept back, while something is wanted as one piece. */
  #held: { flight: HeldDatagram[]; known: Set<Deno.DatagramConn> } | undefined;

  constructor(stage: Stage, port: number) {
    this.port = port;
    this.#relayPort = stage.port;
    const hostname = "127.0.0.1";
    this.#udp = Deno.listenDatagram({ transport: "udp", hostname, port });
    this.#listener = Deno.listen({ hostname, port });
    this.#running.push(this.#fromClients(), this.#accept());
    stage.keep(this);
  }

  /** Bytes of all datagrams. */
  get bytes(): number {
    return this.datagrams.reduce((sum, { data }) => sum + data.length, 0);
  }

  /** How many pieces of what went by hold this. */
  count(needle: Uint8Array): number {
    const all = [...this.datagrams.map(({ data }) => data), ...this.tcp];
    return all.filter((data) => holds(data, needle)).length;
  }

  /** From now on nothing that new clients say reaches the relay, until {@linkcode release}. */
  hold(): void {
    this.#held = { flight: [], known: new Set(this.#upstream.values()) };
  }

  /** Passes on what was held, in order, and answers it: what a client says before it has heard anything. */
  async release(): Promise<readonly HeldDatagram[]> {
    const flight = this.#held?.flight ?? [];
    this.#held = undefined;
    await this.sendAgain(flight);
    return flight;
  }

  /** Passes on what was held so far, and holds what comes behind it. */
  async releaseFirst(): Promise<readonly HeldDatagram[]> {
    const flight = this.#held?.flight.splice(0) ?? [];
    await this.sendAgain(flight);
    return flight;
  }

  /** Says all of it to the relay: each from the address that it came from the first time, or from another socket. */
  async sendAgain(flight: readonly HeldDatagram[], other?: Deno.DatagramConn): Promise<void> {
    for (const { data, socket } of flight) await this.#toRelay(data, other ?? socket);
  }

  async #toRelay(data: Uint8Array, socket: Deno.DatagramConn): Promise<void> {
    const to = { transport: "udp", hostname: "127.0.0.1", port: this.#relayPort } as const;
    await socket.send(data, to).catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#udp.close();
    this.#listener.close();
    for (const socket of this.#upstream.values()) socket.close();
    for (const conn of this.#conns) conn.close();
    await Promise.all(this.#running);
  }

  async #fromClients(): Promise<void> {
    try {
      for await (const [data, from] of this.#udp) {
        const client = from as Deno.NetAddr;
        this.datagrams.push({ toRelay: true, data });
        const key = `${client.hostname} ${client.port}`;
        let socket = this.#upstream.get(key);
        if (!socket) {
          socket = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
          this.#upstream.set(key, socket);
          this.#running.push(this.#fromRelay(socket, client));
        }
        if (this.#held?.known.has(socket) === false) this.#held.flight.push({ data, socket });
        else await this.#toRelay(data, socket);
      }
    } catch {
      // Closed at the end of the test.
    }
  }

  async #fromRelay(socket: Deno.DatagramConn, client: Deno.NetAddr): Promise<void> {
    try {
      for await (const [data] of socket) {
        this.datagrams.push({ toRelay: false, data });
        await this.#udp.send(data, client).catch(() => {});
      }
    } catch {
      // Closed at the end of the test.
    }
  }

  async #accept(): Promise<void> {
    try {
      for await (const conn of this.#listener) {
        const relay = await Deno.connect({ hostname: "127.0.0.1", port: this.#relayPort });
        this.#conns.add(conn).add(relay);
        this.#running.push(this.#copy(conn, relay), this.#copy(relay, conn));
      }
    } catch {
      // Closed at the end of the test.
    }
  }

  async #copy(from: Deno.Conn, to: Deno.Conn): Promise<void> {
    const buffer = new Uint8Array(65_536);
    try {
      for (let n = await from.read(buffer); n !== null; n = await from.read(buffer)) {
        const data = buffer.slice(0, n);
        this.tcp.push(data);
        for (let at = 0; at < n;) at += await to.write(data.subarray(at));
      }
      await to.closeWrite();
    } catch {
      // One side is gone.
    }
  }
}

/** Does `data` hold `needle`? */
export function holds(data: Uint8Array, needle: Uint8Array): boolean {
  for (let at = data.indexOf(needle[0]!); at !== -1; at = data.indexOf(needle[0]!, at + 1)) {
    let length = 1;
    while (length < needle.length && data[at + length] === needle[length]) length++;
    if (length === needle.length) return true;
  }
  return false;
}
