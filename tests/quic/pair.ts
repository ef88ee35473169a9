/**
 * Two QUIC connections joined in memory, for tests of the rooms above.
 * @module
 */
import { type Address, addressOf } from "../../src/core/mod.ts";
import {
  ALPN_TUNNEL,
  type ConnectionHandler,
  createQuicConfig,
  type Credentials,
  type Egress,
  type NewcomerLimits,
  QuicConnection,
  QuicEndpoint,
  type QuicSettings,
} from "../../src/quic/mod.ts";
import { createTestNetwork } from "../helpers/test_network.ts";

/** What a test decides about a pair. */
export interface PairOptions {
  readonly client?: ConnectionHandler;
  readonly server?: (connection: QuicConnection) => ConnectionHandler;
  /** Decides about each datagram; `false` loses it. */
  readonly deliver?: (toServer: boolean, datagram: Uint8Array) => boolean;
  readonly settings?: Partial<QuicSettings>;
  readonly newcomers?: NewcomerLimits;
}

/** Both ends, and a way to end them. */
export interface Pair {
  readonly client: QuicConnection;
  readonly server: Promise<QuicConnection>;
  readonly established: Promise<void>;
  readonly clientEnd: QuicEndpoint;
  readonly serverEnd: QuicEndpoint;
  close(): void;
}

/** Settings that suit tests. */
export function testSettings(credentials: Credentials): QuicSettings {
  return {
    credentials,
    alpn: ALPN_TUNNEL,
    idleTimeoutMs: 10_000,
    streamWindow: 256 * 1024,
    maxStreamWindow: 4 << 20,
    connectionWindow: 1 << 20,
    maxConnectionWindow: 16 << 20,
    maxStreams: 100,
  };
}

/** An egress that hands datagrams over on the next turn of the event loop. */
export function memoryEgress(
  deliver: (data: Uint8Array, segmentSize: number, from: Address, to: Address) => void,
): Egress {
  return {
    packetSize: () => 1350,
    prefix: () => new Uint8Array(0),
    transmit: (local, peer, data, segmentSize) => {
      const copy = new Uint8Array(data);
      setTimeout(() => deliver(copy, segmentSize, local, peer), 0);
      return data.length;
    },
    writable: () => Promise.resolve(),
  };
}

/** Joins an agent to a connector. */
export async function createPair(options: PairOptions = {}): Promise<Pair> {
  const network = await createTestNetwork();
  const agent = await network.agent("alice");
  const connector = await network.connector("home");
  const caPem = network.caPem;
  const clientAt = addressOf("127.0.0.1", 1001);
  const serverAt = addressOf("127.0.0.1", 1002);
  const clientEnd = new QuicEndpoint();
  const serverEnd = new QuicEndpoint(options.newcomers ? { newcomers: options.newcomers } : {});
  const server = Promise.withResolvers<QuicConnection>();
  const established = Promise.withResolvers<void>();
  let over = false;
  const join = (to: QuicEndpoint, toServer: boolean) =>
    memoryEgress((data, segmentSize, from, at) => {
      if (over) return;
      for (let offset = 0; offset < data.length; offset += segmentSize) {
        const datagram = data.subarray(offset, offset + segmentSize);
        if (options.deliver?.(toServer, datagram) === false) continue;
        to.ingest(datagram, datagram.length, from, at);
      }
      to.batchEnd();
    });
  serverEnd.listen(() => ({
    config: createQuicConfig({ ...testSettings({ caPem, ...connector }), ...options.settings }),
    egress: join(clientEnd, false),
    handler: (connection) => {
      server.resolve(connection);
      return options.server?.(connection) ?? {};
    },
  }));
  const client = clientEnd.connect({
    config: createQuicConfig({ ...testSettings({ caPem, ...agent }), ...options.settings }),
    egress: join(serverEnd, true),
    local: clientAt,
    peer: serverAt,
    serverName: connector.serverName,
    handler: {
      ...options.client,
      established: () => {
        established.resolve();
        options.client?.established?.();
      },
      closed: (reason) => {
        established.reject(new Error(`closed: ${JSON.stringify(reason)}`));
        options.client?.closed?.(reason);
      },
    },
  });
  established.promise.catch(() => {});
  return {
    client,
    server: server.promise,
    established: established.promise,
    clientEnd,
    serverEnd,
    close() {
      over = true;
      clientEnd.close("");
      serverEnd.close("");
    },
  };
}
