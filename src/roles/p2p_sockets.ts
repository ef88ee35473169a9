/**
 * The P2P socket, and the extra ones that guessing ports opens for a while: numbered, as the path machines know them.
 * @module
 */
import type { Address, Logger } from "../core/mod.ts";
import { messageOf } from "../core/mod.ts";
import { P2P_SOCKET, type SocketId } from "../path/mod.ts";
import { type DatagramHandler, openUdpSocket, type UdpSocket } from "../sockets/mod.ts";

/** Extra sockets of a process at most: two tunnels' worth of guessing at a time. More are refused, and that tunnel stays relayed. */
const MAX_EXTRA = 512;

/** Kernel buffers of an extra socket, in bytes: it carries probes until it wins, and there are many. */
const EXTRA_BUFFER = 64 * 1024;

/** The sockets of direct paths, by number. */
export class P2pSockets {
  readonly #main: UdpSocket;
  readonly #extra = new Map<SocketId, UdpSocket>();
  readonly #handlerOf: (socket: UdpSocket, id: SocketId) => DatagramHandler;
  readonly #log: Logger;
  #nextId: SocketId = P2P_SOCKET + 1;

  /** `handlerOf` makes what takes a socket's datagrams. */
  constructor(
    main: UdpSocket,
    options: { handlerOf: (socket: UdpSocket, id: SocketId) => DatagramHandler; log: Logger },
  ) {
    this.#main = main;
    this.#handlerOf = options.handlerOf;
    this.#log = options.log;
    main.receive(options.handlerOf(main, P2P_SOCKET));
  }

  get(id: SocketId): UdpSocket | undefined {
    return id === P2P_SOCKET ? this.#main : this.#extra.get(id);
  }

  /** The number of the socket that is bound there; the P2P socket's where none is. */
  idOf(local: Address): SocketId {
    if (local.port === this.#main.local.port) return P2P_SOCKET;
    for (const [id, socket] of this.#extra) if (socket.local.port === local.port) return id;
    return P2P_SOCKET;
  }

  /** The socket that is bound there; `undefined` where none is (any more). */
  at(local: Address): UdpSocket | undefined {
    if (local.port === this.#main.local.port) return this.#main;
    for (const socket of this.#extra.values()) {
      if (socket.local.port === local.port) return socket;
    }
    return undefined;
  }

  /** Opens extra sockets: as many as asked, or as can be had. */
  open(count: number): SocketId[] {
    const ids: SocketId[] = [];
    while (ids.length < count && this.#extra.size < MAX_EXTRA) {
      try {
        const socket = openUdpSocket({ bufferBytes: EXTRA_BUFFER, portable: true });
        const id = this.#nextId++;
        this.#extra.set(id, socket);
        socket.receive(this.#handlerOf(socket, id));
        ids.push(id);
      } catch (error) {
        this.#log.debug("cannot open more sockets to guess ports", { reason: messageOf(error) });
        break;
      }
    }
    return ids;
  }

  /** Closes extra sockets. */
  close(ids: Iterable<SocketId>): void {
    for (const id of ids) {
      this.#extra.get(id)?.close();
      this.#extra.delete(id);
    }
  }

  /** Closes all extra sockets; the P2P socket is its owner's. */
  closeAll(): void {
    this.close([...this.#extra.keys()]);
  }
}
