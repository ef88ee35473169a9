/**
 * The QUIC engine: Cloudflare quiche 0.18 through its sans-IO native interface. The package's own socket, client and
 * server classes stay unloaded: they can do neither early data, nor DATAGRAM, nor migration.
 * @module
 */
import binding from "@matrixai/quic/dist/native/quiche.js";
import type {
  Config,
  ConfigConstructor,
  Connection,
  ConnectionConstructor,
  ConnectionError,
  PathEvent,
  PathStats,
  Stats,
} from "@matrixai/quic/dist/native/types.d.ts";

/** The engine's configuration object. */
export type NativeConfig = Config;
/** The engine's connection object. */
export type NativeConnection = Connection;
/** How an end closed. */
export type NativeConnectionError = ConnectionError;
/** What happened to a path. */
export type NativePathEvent = PathEvent | FailedValidation;
/** The package's types have forgotten it. */
interface FailedValidation {
  readonly type: "FailedValidation";
  readonly local: HostPort;
  readonly peer: HostPort;
}
/** An end of a path as the engine writes it. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}
/** Counters of one path. */
export type NativePathStats = PathStats;
/** Counters of a connection. */
export type NativeStats = Stats;

interface Engine {
  readonly Config: ConfigConstructor;
  readonly Connection: ConnectionConstructor;
  readonly PROTOCOL_VERSION: number;
  retry(
    scid: Uint8Array,
    dcid: Uint8Array,
    newScid: Uint8Array,
    token: Uint8Array,
    version: number,
    out: Uint8Array,
  ): number;
}

const { Config, Connection, PROTOCOL_VERSION, retry } =
  (binding as unknown as { default: Engine }).default;
export { Config as EngineConfig, Connection as EngineConnection };

/**
 * A Retry packet (RFC 9000 §17.2.5).
 *
 * @param parts.scid the client's own id, from its Initial packet
 * @param parts.dcid the id that the client made up for the server
 * @param parts.id the server's id from now on
 */
export function writeRetry(
  parts: { scid: Uint8Array; dcid: Uint8Array; id: Uint8Array; token: Uint8Array },
): Uint8Array<ArrayBuffer> {
  const { scid, dcid, id, token } = parts;
  // Header, three ids of 20 bytes at most, token, integrity tag.
  const out = new Uint8Array(128 + token.length);
  return out.subarray(0, retry(scid, dcid, id, token, PROTOCOL_VERSION, out));
}
