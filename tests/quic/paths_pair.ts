/**
 * Two QUIC connections joined in memory by several paths, each with a delay and a rate, which a test can cut: for tests of
 * migration. Real time passes, as the engine's clock is its own.
 * @module
 */
import { type Address, addressOf } from "../../src/core/mod.ts";
import {
  type ConnectionHandler,
  createQuicConfig,
  type Egress,
  type QuicConnection,
  QuicEndpoint,
  type QuicSettings,
} from "../../src/quic/mod.ts";
import { createTestNetwork, type TestNetwork } from "../helpers/test_network.ts";
import { testSettings } from "./pair.ts";

/** One direction of a path: a bottleneck with a queue before it, then a delay. Keeps the order. */
class Direction {
  readonly #waiting: { at: number; arrive: () => void }[] = [];
  #busyUntil = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Answers whether there was room. */
  carry(bytes: number, arrive: () => void, { delayMs, rate, queue }: TestPath): boolean {
    const now = performance.now();
    const start = Math.max(now, this.#busyUntil);
    if ((start - now) * rate > queue) return false;
    this.#busyUntil = start + bytes / rate;
    this.#waiting.push({ at: this.#busyUntil + delayMs, arrive });
    this.#arm();
    return true;
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#waiting.length = 0;
  }

  #arm(): void {
    const first = this.#waiting[0];
    if (!first || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      const now = performance.now();
      while (this.#waiting.length > 0 && this.#waiting[0]!.at <= now) {
        this.#waiting.shift()!.arrive();
      }
      this.#arm();
    }, Math.max(0, Math.ceil(first.at - performance.now())));
  }
}

/** How a path is. */
export interface TestPathOptions {
  /** One way, in milliseconds. @default 10 */
  readonly delayMs?: number;
  /** Bytes per millisecond. @default 4,000 */
  readonly rate?: number;
  /** Bytes that wait before the bottleneck at most; what comes on top is lost. @default 200,000 */
  readonly queue?: number;
}

/** One way between the two ends. */
export class TestPath {
  /** The client's end of it. */
  readonly client: Address;
  /** The server's. */
  readonly server: Address;
  readonly delayMs: number;
  readonly rate: number;
  readonly queue: number;
  /** Loses everything that is sent from now on that way; what is under way arrives. */
  readonly cut = { toServer: false, toClient: false };
  readonly #directions = { toServer: new Direction(), toClient: new Direction() };

  constructor(number: number, options: TestPathOptions = {}) {
    this.client = addressOf(`10.0.${number}.1`, 1000);
    this.server = addressOf(`10.0.${number}.2`, 1000);
    this.delayMs = options.delayMs ?? 10;
    this.rate = options.rate ?? 4_000;
    this.queue = options.queue ?? 200_000;
  }

  carry(toServer: boolean, bytes: number, arrive: () => void): void {
    const direction = toServer ? "toServer" : "toClient";
    if (!this.cut[direction]) this.#directions[direction].carry(bytes, arrive, this);
  }

  stop(): void {
    this.#directions.toServer.stop();
    this.#directions.toClient.stop();
  }
}

/** Both ends. */
export interface PathsPair {
  readonly client: QuicConnection;
  readonly server: QuicConnection;
  close(): void;
}

/** Joins an agent to a connector by several paths, the first of which carries the handshake. */
export async function createPathsPair(
  paths: readonly [TestPath, ...TestPath[]],
  handlers: {
    client?: ConnectionHandler;
    server?: (connection: QuicConnection) => ConnectionHandler;
    settings?: Partial<QuicSettings>;
    /** Whose certificates both ends have. @default a new one's */
    network?: TestNetwork;
    /** A ticket of an earlier pair in the same network, whose `settings` had the same ticket key. */
    session?: Uint8Array;
    /** Called right after the client has begun: what it says now is early data. */
    begun?: (client: QuicConnection) => void;
    /** What becomes of a datagram under way. */
    change?: (datagram: Uint8Array, toServer: boolean) => Uint8Array;
  } = {},
): Promise<PathsPair> {
  const network = handlers.network ?? await createTestNetwork();
  const [agent, connector] = [await network.agent("alice"), await network.connector("home")];
  const { caPem } = network;
  const [clientEnd, serverEnd] = [new QuicEndpoint(), new QuicEndpoint()];
  const server = Promise.withResolvers<QuicConnection>();
  const established = Promise.withResolvers<void>();
  const egress = (to: QuicEndpoint, toServer: boolean): Egress => ({
    packetSize: () => 1350,
    prefix: () => new Uint8Array(0),
    transmit: (local, peer, data, segmentSize) => {
      const path = paths.find(({ client, server }) =>
        (toServer ? server.key : client.key) === peer.key
      );
      for (let at = 0; path && at < data.length; at += segmentSize) {
        const sent = data.slice(at, at + segmentSize);
        const datagram = handlers.change?.(sent, toServer) ?? sent;
        path.carry(toServer, datagram.length, () => {
          to.ingest(datagram, datagram.length, local, peer);
          // What arrives together is one batch.
          queueMicrotask(() => to.batchEnd());
        });
      }
      return data.length;
    },
    writable: () => Promise.resolve(),
  });
  const settings = (credentials: { certPem: string; keyPem: string }) =>
    createQuicConfig({ ...testSettings({ caPem, ...credentials }), ...handlers.settings });
  serverEnd.listen(() => ({
    config: settings(connector),
    egress: egress(clientEnd, false),
    handler: (connection) => {
      server.resolve(connection);
      return handlers.server?.(connection) ?? {};
    },
  }));
  const client = clientEnd.connect({
    config: settings(agent),
    egress: egress(serverEnd, true),
    local: paths[0].client,
    peer: paths[0].server,
    serverName: connector.serverName,
    ...(handlers.session ? { session: handlers.session } : {}),
    handler: {
      ...handlers.client,
      established: () => {
        established.resolve();
        handlers.client?.established?.();
      },
      closed: (reason) => {
        established.reject(new Error(`closed: ${JSON.stringify(reason)}`));
        handlers.client?.closed?.(reason);
      },
    },
  });
  handlers.begun?.(client);
  await established.promise;
  return {
    client,
    server: await server.promise,
    close() {
      for (const path of paths) path.stop();
      clientEnd.close("");
      serverEnd.close("");
    },
  };
}
