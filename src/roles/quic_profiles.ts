/**
 * How the two kinds of QUIC connection are set up.
 * @module
 */
import {
  ALPN_CONTROL,
  ALPN_TUNNEL,
  createQuicConfig,
  type Credentials,
  type NativeConfig,
} from "../quic/mod.ts";
import { TUNNEL_IDLE_TIMEOUT } from "../tunnel/mod.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

/** Flows that one tunnel may have open at a time; more wait at the agent until some end. */
export const MAX_FLOWS = 4096;

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

/**
 * Of a tunnel. A flow's window starts at 1 MiB and grows to 16 MiB (1 Gbit/s at 130 ms); all flows together hold 128 MiB at
 * most. That is also what an end may have to keep in memory for applications that do not read.
 */
export function tunnelConfig(
  credentials: Credentials,
  options: { earlyData?: boolean; ticketKey?: Uint8Array } = {},
): NativeConfig {
  return createQuicConfig({
    credentials,
    alpn: ALPN_TUNNEL,
    idleTimeoutMs: TUNNEL_IDLE_TIMEOUT,
    streamWindow: 1 * MIB,
    maxStreamWindow: 16 * MIB,
    connectionWindow: 128 * MIB,
    maxConnectionWindow: 128 * MIB,
    maxStreams: MAX_FLOWS,
    ...options,
  });
}
