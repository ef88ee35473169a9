/**
 * A local UDP port that leads to one service. Each local peer (address and port) is a flow of its own, and what comes back
 * on it goes to that peer only. Flows end when nothing was sent for two minutes (30 s after a single question and answer).
 * @module
 */
import { type Address, type HostPort, type Logger, messageOf, UserError } from "../core/mod.ts";
import { formatHostPort } from "../core/mod.ts";
import type { UdpFlow } from "../mux/mod.ts";
import { openUdpSocket, type UdpSocket } from "../sockets/mod.ts";
import type { LocalListener } from "./accept_loop.ts";
import type { UdpFlowOpener } from "./flow_opener.ts";

/**
 * Local peers at once: as many as one tunnel carries UDP flows. Beyond it the peer that was quiet longest makes room, and
 * where none was quiet the newcomer's packets are dropped.
 */
const MAX_PEERS = 1024;

/** Milliseconds for which a peer must have been quiet to make room for another. */
const EVICTABLE_AFTER = 2_000;

/** Packets held per peer while its flow is being opened, in number; what comes beyond is dropped. */
const MAX_WAITING = 16;

/** After a refusal, how long the same peer's packets are dropped before the next try, in milliseconds. */
const REFUSED_PAUSE = 1_000;

/** How to forward. */
export interface UdpForwardOptions {
  readonly service: string;
  readonly at: HostPort;
  readonly open: UdpFlowOpener;
  readonly log: Logger;
  /** Stops; the flows end. */
  readonly signal: AbortSignal;
  /** @default 1024 */
  readonly maxPeers?: number;
}

/** One local peer. */
interface Peer {
  readonly address: Address;
  flow: UdpFlow | undefined;
  /** Copies, in order, while there is no flow; `undefined` while the peer is refused. */
  waiting: Uint8Array[] | undefined;
  usedAt: number;
}

/**
 * Listens on a local UDP port and carries each peer's packets to the service.
 *
 * @throws {UserError} where the port cannot be listened on
 */
export function listenUdpForward(options: UdpForwardOptions): LocalListener {
  const forward = new UdpForward(options, openSocket(options));
  options.signal.addEventListener("abort", () => forward.close(), { once: true });
  if (options.signal.aborted) forward.close();
  return forward;
}

class UdpForward implements LocalListener {
  readonly address: HostPort;
  readonly finished: Promise<void>;
  readonly #finish: () => void;
  readonly #options: UdpForwardOptions;
  readonly #socket: UdpSocket;
  readonly #peers = new Map<string, Peer>();
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  #closed = false;

  constructor(options: UdpForwardOptions, socket: UdpSocket) {
    this.#options = options;
    this.#socket = socket;
    this.address = { host: socket.local.host, port: socket.local.port };
    const { promise, resolve } = Promise.withResolvers<void>();
    this.finished = promise;
    this.#finish = resolve;
    socket.receive({
      datagrams: (data, segmentSize, from) => {
        for (let at = 0; at < data.length; at += segmentSize) {
          this.#packet(data.subarray(at, at + segmentSize), from);
        }
      },
      batchEnd: () => {},
    });
  }

  get connections(): number {
    return this.#peers.size;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.close();
    for (const timer of this.#timers) clearTimeout(timer);
    for (const { flow } of this.#peers.values()) flow?.close();
    this.#peers.clear();
    this.#finish();
  }

  #packet(packet: Uint8Array, from: Address): void {
    if (this.#closed) return;
    const now = performance.now();
    let peer = this.#peers.get(from.key);
    if (!peer) {
      if (!this.#makeRoom(now)) return;
      peer = { address: from, flow: undefined, waiting: [], usedAt: now };
      this.#peers.set(from.key, peer);
      void this.#open(peer);
    }
    peer.usedAt = now;
    if (peer.flow) peer.flow.send(packet);
    else if (peer.waiting && peer.waiting.length < MAX_WAITING) peer.waiting.push(packet.slice());
  }

  async #open(peer: Peer): Promise<void> {
    const { service, open, log } = this.#options;
    try {
      const flow = await open.openUdp(service, peer.address.key);
      if (this.#closed || !this.#isKnown(peer)) return flow.close();
      peer.flow = flow;
      flow.onPacket = (packet) => {
        peer.usedAt = performance.now();
        // What the system does not take is lost, as UDP may be.
        this.#socket.send(peer.address, packet, packet.length);
      };
      flow.onClose = (reason) => {
        log.debug("UDP flow ended", { service, peer: peer.address.key, reason });
        this.#forget(peer);
      };
      const waiting = peer.waiting ?? [];
      peer.waiting = undefined;
      for (const packet of waiting) flow.send(packet);
    } catch (error) {
      log.warn("cannot open flow", {
        service,
        peer: peer.address.key,
        reason: messageOf(error),
      });
      peer.waiting = undefined;
      // Each packet would ask again, and each refusal would be logged.
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        this.#forget(peer);
      }, REFUSED_PAUSE);
      this.#timers.add(timer);
    }
  }

  #isKnown(peer: Peer): boolean {
    return this.#peers.get(peer.address.key) === peer;
  }

  #forget(peer: Peer): void {
    if (this.#isKnown(peer)) this.#peers.delete(peer.address.key);
  }

  #makeRoom(now: number): boolean {
    if (this.#peers.size < (this.#options.maxPeers ?? MAX_PEERS)) return true;
    let oldest: Peer | undefined;
    for (const peer of this.#peers.values()) {
      if (!oldest || peer.usedAt < oldest.usedAt) oldest = peer;
    }
    if (!oldest || now - oldest.usedAt < EVICTABLE_AFTER) return false;
    oldest.flow?.close();
    this.#forget(oldest);
    return true;
  }
}

/**
 * Portable where it can be: that one lets the system fragment large packets, as any application's socket does. One that is
 * bound to all addresses must answer from the one that was asked, which only the other can.
 */
function openSocket({ at, service }: UdpForwardOptions): UdpSocket {
  const portable = at.host !== "0.0.0.0" && at.host !== "::";
  const host = at.host === "localhost" ? "127.0.0.1" : at.host;
  try {
    return openUdpSocket({ host, port: at.port, portable });
  } catch (cause) {
    if (!(cause instanceof UserError)) throw cause;
    const where = formatHostPort(at);
    throw new UserError(`Cannot listen on UDP ${where} for "${service}": ${cause.message}`, {
      next: `Choose another port with ${service}=udp://HOST:PORT`,
      cause,
    });
  }
}
