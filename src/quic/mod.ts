/**
 * QUIC: the only room that knows the engine.
 * @module
 */
export * from "./config.ts";
export * from "./connection.ts";
export * from "./connection_types.ts";
export * from "./connection_id.ts";
export * from "./describe_close.ts";
export * from "./endpoint.ts";
export type { NativeConfig, NativePathEvent } from "./engine.ts";
export { keyOfPath, type PathOfConnection } from "./left_paths.ts";
export { hasRetryToken } from "./long_header_codec.ts";
export * from "./migration.ts";
export { NEWCOMER_LIMITS, type NewcomerLimits } from "./newcomers.ts";
export * from "./stream.ts";
