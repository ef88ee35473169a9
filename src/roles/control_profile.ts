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

/** Of a control connection: one stream of small messages. Keep-alive pings come every 15 s, so 60 s of silence is the end. */
export function controlConfig(
  credentials: Credentials,
  options: { earlyData?: boolean; ticketKey?: Uint8Array } = {},
): NativeConfig {
  return createQuicConfig({
    credentials,
    alpn: ALPN_CONTROL,
    idleTimeoutMs: 60_000,
    // The largest message has 64 KiB, and a few may be under way.
    streamWindow: 256 * KIB,
    maxStreamWindow: 256 * KIB,
    connectionWindow: 256 * KIB,
    maxConnectionWindow: 256 * KIB,
    maxStreams: 1,
    ...options,
  });
}
