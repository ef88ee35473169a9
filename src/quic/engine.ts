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
export type NativePathEvent = PathEvent;
/** Counters of one path. */
export type NativePathStats = PathStats;
/** Counters of a connection. */
export type NativeStats = Stats;

interface Engine {
  readonly Config: ConfigConstructor;
  readonly Connection: ConnectionConstructor;
}

const { Config, Connection } = (binding as unknown as { default: Engine }).default;
export { Config as EngineConfig, Connection as EngineConnection };
