/**
 * A socket for all addresses of this machine that answers each peer from the address that it wrote to.
 *
 * A socket bound to `::` answers from the address that the system prefers. Where a machine has several of one family, that
 * may be another than the one that was asked, and the peer, or the NAT before it, drops the answer. So where there
 * are several, each gets a socket of its own beside the one for all, on the same port: Linux hands a datagram to the
 * socket that is bound most specifically, and what a bound socket sends leaves from its address. That holds from a peer's
 * very first datagram on. (IPV6_PKTINFO would not do: Deno takes the first datagram of each batch, and does not tell
 * which address it came to.) With one address per family there is just the one socket, and nothing to remember.
 *
 * What a peer hears unasked comes from the address that it wrote to last.
 * @module
 */
import { clearInterval, setInterval } from "node:timers";
import type { Address } from "../core/mod.ts";
import { AskedTable } from "./asked_table.ts";
import { type BatchedOptions, batchedSocket, type BatchedUdpSocket } from "./batched_socket.ts";
import { loadLibc, setOption, SocketOption } from "./libc.ts";
import { bind, type Listener } from "./listen.ts";
import { hostsToAnswerFrom, type OwnAddress } from "./own_addresses.ts";
import type { DatagramHandler, UdpCounters, UdpSocket } from "./udp_socket.ts";

/**
 * Between looks at this machine's addresses, in milliseconds. A look costs some 20 µs. Who asks a new address meanwhile
 * hears from the one that the system prefers, and asks again.
 */
const LOOK_INTERVAL = 2_000;

/** How to make a {@linkcode multiHomedSocket}. */
export interface MultiHomedOptions extends BatchedOptions {
  /** This machine's addresses now. @default Deno.networkInterfaces */
  readonly own?: () => readonly OwnAddress[];
  /** Hosts that need a socket of their own. @default hostsToAnswerFrom */
  readonly choose?: typeof hostsToAnswerFrom;
  /** Between looks at them, in milliseconds. @default 2000 */
  readonly lookInterval?: number;
}

/** Makes one of a listener that is bound to all addresses; `undefined` as {@linkcode batchedSocket}. */
export function multiHomedSocket(
  listener: Listener,
  options: MultiHomedOptions = {},
): UdpSocket | undefined {
  const main = batchedSocket(listener, options);
  return main && new MultiHomedSocket(main, options);
}

class MultiHomedSocket implements UdpSocket {
  readonly kind = "batched";
  readonly #main: BatchedUdpSocket;
  readonly #options: MultiHomedOptions;
  /** By host. */
  readonly #specific = new Map<string, UdpSocket>();
  readonly #asked = new AskedTable<UdpSocket>();
  readonly #looks: ReturnType<typeof setInterval>;
  #handler: DatagramHandler | undefined;
  #closed = false;

  constructor(main: BatchedUdpSocket, options: MultiHomedOptions) {
    this.#main = main;
    this.#options = options;
    this.#look();
    this.#looks = setInterval(() => this.#look(), options.lookInterval ?? LOOK_INTERVAL);
    this.#looks.unref();
  }

  get local(): Address {
    return this.#main.local;
  }

  get counters(): Readonly<UdpCounters> {
    return this.#main.counters;
  }

  receive(handler: DatagramHandler): void {
    if (this.#handler) throw new TypeError("Cannot receive twice on one socket");
    this.#handler = handler;
    this.#main.receive({
      datagrams: (data, segmentSize, from) => {
        if (this.#specific.size > 0) this.#asked.note(from.key, undefined);
        handler.datagrams(data, segmentSize, from);
      },
      batchEnd: () => handler.batchEnd(),
    });
    for (const socket of this.#specific.values()) this.#receiveFrom(socket, handler);
  }

  #receiveFrom(socket: UdpSocket, handler: DatagramHandler): void {
    socket.receive({
      datagrams: (data, segmentSize, from) => {
        this.#asked.note(from.key, socket);
        handler.datagrams(data, segmentSize, from);
      },
      batchEnd: () => handler.batchEnd(),
    });
  }

  send(to: Address, data: Uint8Array, segmentSize: number): number {
    const socket = this.#specific.size > 0 ? this.#asked.wayTo(to.key) : undefined;
    return (socket ?? this.#main).send(to, data, segmentSize);
  }

  writable(): Promise<void> {
    return this.#main.writable();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#looks);
    for (const socket of this.#specific.values()) socket.close();
    this.#specific.clear();
    this.#main.close();
  }

  /** Opens sockets for addresses that have come, and closes those of addresses that have gone. */
  #look(): void {
    const { own = ownAddresses, choose = hostsToAnswerFrom } = this.#options;
    const addresses = own();
    const { family } = this.local;
    const wanted = choose(addresses, { family });
    for (const [host, socket] of this.#specific) {
      // One that has become the only one of its family stays: peers write to it.
      if (wanted.includes(host) || addresses.some(({ address }) => address === host)) continue;
      this.#specific.delete(host);
      this.#asked.forget(socket);
      socket.close();
    }
    for (const host of wanted) if (!this.#specific.has(host)) this.#open(host);
  }

  #open(host: string): void {
    const listener = this.#bindBeside(host);
    if (!listener) return;
    const socket = batchedSocket(listener, { ...this.#options, counters: this.#main.counters });
    if (!socket) {
      listener.socket.close();
      return;
    }
    this.#specific.set(host, socket);
    if (this.#handler) this.#receiveFrom(socket, this.#handler);
  }

  /**
   * Linux asks for SO_REUSEADDR on both sockets, at the moment of binding only. The main socket has it no longer than that, so
   * that two programs never get the same port.
   */
  #bindBeside(host: string): Listener | undefined {
    const libc = loadLibc()!;
    setOption(libc, this.#main.fd, SocketOption.REUSEADDR, 1);
    try {
      return bind(host, this.local.port, { shared: true });
    } catch {
      // Not usable yet (RFC 4862 §5.4: still checked for duplicates), or gone again: the next look tells.
      return undefined;
    } finally {
      setOption(libc, this.#main.fd, SocketOption.REUSEADDR, 0);
    }
  }
}

function ownAddresses(): readonly OwnAddress[] {
  try {
    return Deno.networkInterfaces();
  } catch {
    return []; // Not permitted to look: as if there were one.
  }
}
