/**
 * A client that says to the relay whatever a test wants, with whatever certificate: for tests of what the relay lets it.
 * @module
 */
import { FrameReader } from "../../src/control/framing.ts";
import { addressOf, concatBytes, encodeUtf8 } from "../../src/core/mod.ts";
import {
  ALPN_CONTROL,
  type CloseReason,
  createQuicConfig,
  type NativeConfig,
  type QuicConnection,
  QuicEndpoint,
  type QuicStream,
} from "../../src/quic/mod.ts";
import { EngineConfig } from "../../src/quic/engine.ts";
import { socketEgress } from "../../src/roles/socket_egress.ts";
import { Demultiplexer, openUdpSocket } from "../../src/sockets/mod.ts";

/** Settings as a client's, for any certificate; without one where `certPem` is missing. */
export function clientConfig(
  options: { caPem: string; certPem?: string; keyPem?: string; alpn?: string },
): NativeConfig {
  const { caPem, certPem, keyPem, alpn = ALPN_CONTROL } = options;
  if (certPem === undefined || keyPem === undefined) {
    const config = EngineConfig.withBoringSslCtx(true, false, encodeUtf8(caPem), null, null);
    config.verifyPeer(true);
    config.setApplicationProtos([alpn]);
    config.setMaxIdleTimeout(10_000);
    config.setInitialMaxData(1 << 20);
    config.setInitialMaxStreamDataBidiLocal(1 << 20);
    config.setInitialMaxStreamsBidi(10);
    config.grease(false);
    return config;
  }
  return createQuicConfig({
    credentials: { caPem, certPem, keyPem },
    alpn,
    idleTimeoutMs: 10_000,
    streamWindow: 1 << 20,
    maxStreamWindow: 1 << 20,
    connectionWindow: 1 << 20,
    maxConnectionWindow: 1 << 20,
    maxStreams: 10,
  });
}

/** One connection to the relay; it speaks when told. */
export class RawClient implements AsyncDisposable {
  readonly connection: QuicConnection;
  /** Messages of the relay, as they came. */
  readonly heard: { readonly type: string; readonly [field: string]: unknown }[] = [];
  /** Resolves when the handshake is done at this end, to true; or when the connection ends before, to false. */
  readonly established: Promise<boolean>;
  readonly closed: Promise<CloseReason>;
  readonly #endpoint = new QuicEndpoint();
  readonly #socket = openUdpSocket({ host: "127.0.0.1" });
  #stream: QuicStream | undefined;

  constructor(
    options: { port: number; config: NativeConfig; serverName: string },
  ) {
    const socket = this.#socket;
    const established = Promise.withResolvers<boolean>();
    const closed = Promise.withResolvers<CloseReason>();
    this.established = established.promise;
    this.closed = closed.promise;
    this.connection = this.#endpoint.connect({
      config: options.config,
      egress: socketEgress(socket),
      local: socket.local,
      peer: addressOf("127.0.0.1", options.port),
      serverName: options.serverName,
      handler: {
        established: () => established.resolve(true),
        closed: (reason) => {
          established.resolve(false);
          closed.resolve(reason);
        },
      },
    });
    socket.receive(
      new Demultiplexer({
        quic: (data, size, from) => this.#endpoint.ingest(data, size, from, socket.local),
        batchEnd: () => this.#endpoint.batchEnd(),
      }),
    );
  }

  /** Writes bytes on the control stream, whatever they are. */
  write(bytes: Uint8Array): void {
    if (!this.#stream) {
      this.#stream = this.connection.openStream()!;
      void this.#listen(this.#stream);
    }
    void this.#stream.writeAll(bytes);
  }

  /** Writes a frame with this text in it. */
  writeFrame(text: string): void {
    const body = encodeUtf8(text);
    const header = new Uint8Array(4);
    new DataView(header.buffer).setUint32(0, body.length);
    this.write(concatBytes(header, body));
  }

  /** Says a message, a good one or not. */
  say(message: object): void {
    this.writeFrame(JSON.stringify(message));
  }

  /** Says a good hello. */
  hello(): void {
    this.say(HELLO);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#endpoint.close("");
    this.#socket.close();
    return Promise.resolve();
  }

  async #listen(stream: QuicStream): Promise<void> {
    const reader = new FrameReader();
    const buffer = new Uint8Array(16_384);
    for (let n = stream.read(buffer); n >= 0; n = stream.read(buffer)) {
      if (n === 0) await stream.readable();
      else this.heard.push(...reader.read(buffer.subarray(0, n)).frames as typeof this.heard);
    }
  }
}

/** A hello that is in order. */
export const HELLO = {
  type: "hello",
  version: 1,
  software: "test",
  nonce: "AAAAAAAAAAAAAAAAAAAAAA",
  issuedAt: null,
  instance: "00000000000000aa",
  attempt: 1,
} as const;
