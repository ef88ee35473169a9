/**
 * How a control connection is set up, at both its ends.
 * @module
 */
import {
  ALPN_CONTROL,
  createQuicConfig,
  type Credentials,
  type NativeConfig,
} from "../quic/mod.ts";

const KIB = 1024;

/** Milliseconds without a packet after which either end gives a control connection up. Keep-alive pings come every 15 s. */
export const CONTROL_IDLE_TIMEOUT = 60_000;

/** Of a control connection: one stream of small messages. */
export function controlConfig(
  credentials: Credentials,
  options: { earlyData?: boolean; ticketKey?: Uint8Array } = {},
): NativeConfig {
  return createQuicConfig({
    credentials,
    alpn: ALPN_CONTROL,
    idleTimeoutMs: CONTROL_IDLE_TIMEOUT,
    // The largest message has 64 KiB, and a few may be under way.
    streamWindow: 256 * KIB,
    maxStreamWindow: 256 * KIB,
    connectionWindow: 256 * KIB,
    maxConnectionWindow: 256 * KIB,
    maxStreams: 1,
    ...options,
  });
}
