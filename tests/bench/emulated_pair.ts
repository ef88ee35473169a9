/**
 * Both ends of a tunnel in one process, joined by an emulated link: delay, loss, a bottleneck with a queue. The engine, its
 * settings and the mux are the real ones; sockets and paths are left out.
 * @module
 */
import { type Address, addressOf } from "../../src/core/mod.ts";
import { Mux, type MuxOptions } from "../../src/mux/mod.ts";
import {
  type ConnectionHandler,
  type Egress,
  type NativeConfig,
  type QuicConnection,
  QuicEndpoint,
} from "../../src/quic/mod.ts";
import { tunnelConfig } from "../../src/roles/tunnel_profile.ts";
import { createTestNetwork } from "../helpers/test_network.ts";

/** What a link does to datagrams, the same in both directions. */
export interface LinkShape {
  /** One way, in milliseconds. */
  readonly delayMs: number;
  /** 0 to 1. */
  readonly loss: number;
  /** Bottleneck in Mbit/s. */
  readonly mbps: number;
  /** Bytes that wait before the bottleneck; what comes beyond is lost. @default 64 KiB and one round trip's worth */
  readonly queueBytes?: number;
  /** @default 1 */
  readonly seed?: number;
}

/** One direction of a link. */
export class EmulatedLink {
  readonly #shape: LinkShape;
  readonly #queueBytes: number;
  readonly #deliver: (batch: readonly Uint8Array[]) => void;
  readonly #waiting: { at: number; data: Uint8Array }[] = [];
  #head = 0;
  #freeAt = 0;
  #state: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(shape: LinkShape, deliver: (batch: readonly Uint8Array[]) => void) {
    this.#shape = shape;
    this.#deliver = deliver;
    this.#queueBytes = shape.queueBytes ??
      65_536 + shape.mbps * 125 * Math.max(10, 2 * shape.delayMs);
    this.#state = (shape.seed ?? 1) | 1;
  }

  send(datagram: Uint8Array): void {
    const now = performance.now();
    const bytesPerMs = this.#shape.mbps * 125;
    const start = Math.max(now, this.#freeAt);
    if ((start - now) * bytesPerMs > this.#queueBytes) return;
    this.#freeAt = start + datagram.length / bytesPerMs;
    if (this.#random() < this.#shape.loss || this.#closed) return;
    const at = this.#freeAt + this.#shape.delayMs;
    this.#waiting.push({ at, data: datagram.slice() });
    this.#timer ??= setTimeout(() => this.#run(), at - now);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #run(): void {
    this.#timer = undefined;
    const now = performance.now();
    const due: Uint8Array[] = [];
    while (due.length < 64) {
      const next = this.#waiting[this.#head];
      if (!next || next.at > now) break;
      due.push(next.data);
      this.#head++;
    }
    if (this.#head > 1024) this.#waiting.splice(0, this.#head), this.#head = 0;
    if (due.length > 0) this.#deliver(due);
    const next = this.#waiting[this.#head];
    if (next && !this.#closed) {
      this.#timer = setTimeout(() => this.#run(), Math.max(0, next.at - performance.now()));
    }
  }

  /** xorshift32: the same losses for the same seed. */
  #random(): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) / 2 ** 32;
  }
}

const AGENT = addressOf("10.0.0.1", 1001);
const CONNECTOR = addressOf("10.0.0.2", 1002);

/** How a joined pair is made. */
export interface JoinOptions {
  readonly configs: { readonly client: NativeConfig; readonly server: NativeConfig };
  readonly serverName: string;
  /** QUIC packets of this size, in bytes. */
  readonly packet: number;
  /** How a datagram travels; answers whether it was taken. */
  readonly toServer: (datagram: Uint8Array) => void;
  readonly toClient: (datagram: Uint8Array) => void;
  readonly client: ConnectionHandler;
  readonly server: (connection: QuicConnection) => ConnectionHandler;
}

/** Two endpoints whose datagrams somebody else carries. */
export interface Joined {
  readonly client: QuicConnection;
  readonly server: Promise<QuicConnection>;
  /** Datagrams arrive. */
  atServer(batch: readonly Uint8Array[]): void;
  atClient(batch: readonly Uint8Array[]): void;
  close(): void;
}

function egress(packet: number, send: (datagram: Uint8Array) => void): Egress {
  return {
    packetSize: () => packet,
    prefix: () => new Uint8Array(0),
    transmit: (_local, _peer, data, segmentSize) => {
      for (let at = 0; at < data.length; at += segmentSize) {
        send(data.subarray(at, at + segmentSize));
      }
      return data.length;
    },
    writable: () => Promise.resolve(),
  };
}

/** Starts a client and a server that reach each other by the given means. */
export function join(options: JoinOptions): Joined {
  const [clientEnd, serverEnd] = [new QuicEndpoint(), new QuicEndpoint()];
  const server = Promise.withResolvers<QuicConnection>();
  serverEnd.listen(() => ({
    config: options.configs.server,
    egress: egress(options.packet, options.toClient),
    handler: (connection) => {
      server.resolve(connection);
      return options.server(connection);
    },
  }));
  const client = clientEnd.connect({
    config: options.configs.client,
    egress: egress(options.packet, options.toServer),
    local: AGENT,
    peer: CONNECTOR,
    serverName: options.serverName,
    handler: options.client,
  });
  const feed =
    (end: QuicEndpoint, from: Address, to: Address) => (batch: readonly Uint8Array[]) => {
      for (const datagram of batch) end.ingest(datagram, datagram.length, from, to);
      end.batchEnd();
    };
  return {
    client,
    server: server.promise,
    atServer: feed(serverEnd, AGENT, CONNECTOR),
    atClient: feed(clientEnd, CONNECTOR, AGENT),
    close() {
      clientEnd.close("");
      serverEnd.close("");
    },
  };
}

/** A tunnel over an emulated link. */
export interface EmulatedPair {
  readonly agent: Mux;
  readonly connector: Mux;
  readonly agentConnection: QuicConnection;
  readonly connectorConnection: QuicConnection;
  close(): void;
}

/** Both ends, open. */
export async function createEmulatedPair(
  shape: LinkShape,
  accepts: Pick<MuxOptions, "accept" | "acceptUdp">,
): Promise<EmulatedPair> {
  const network = await createTestNetwork();
  const { caPem } = network;
  const [alice, home] = [await network.agent("alice"), await network.connector("home")];
  const muxes: { agent?: Mux; connector?: Mux } = {};
  const up = new EmulatedLink(shape, (batch) => joined.atServer(batch));
  const down = new EmulatedLink(
    { ...shape, seed: (shape.seed ?? 1) + 1 },
    (batch) => joined.atClient(batch),
  );
  const established = Promise.withResolvers<void>();
  const joined = join({
    configs: {
      client: tunnelConfig({ caPem, ...alice }),
      server: tunnelConfig({ caPem, ...home }),
    },
    serverName: home.serverName,
    packet: 1452,
    toServer: (datagram) => up.send(datagram),
    toClient: (datagram) => down.send(datagram),
    client: {
      established: () => established.resolve(),
      datagram: (data) => muxes.agent?.datagram(data),
      closed: (reason) => established.reject(new Error(JSON.stringify(reason))),
    },
    server: (connection) => {
      const mux = muxes.connector = new Mux(connection, {
        peer: "alice",
        sendAbort: (id) => muxes.agent?.peerAborted(id),
        ...accepts,
      });
      return {
        stream: (stream) => void mux.accept(stream),
        datagram: (data) => mux.datagram(data),
      };
    },
  });
  await established.promise;
  muxes.agent = new Mux(joined.client, {
    peer: "home",
    sendAbort: (id) => muxes.connector?.peerAborted(id),
  });
  return {
    agent: muxes.agent,
    connector: muxes.connector!,
    agentConnection: joined.client,
    connectorConnection: await joined.server,
    close() {
      up.close();
      down.close();
      joined.close();
    },
  };
}
