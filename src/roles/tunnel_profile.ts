/**
 * How a tunnel's QUIC connection is set up. Not for the relay, which must know nothing of tunnels (a test holds this).
 * @module
 */
import { ALPN_TUNNEL, createQuicConfig, type Credentials, type NativeConfig } from "../quic/mod.ts";
import { TUNNEL_IDLE_TIMEOUT } from "../tunnel/mod.ts";

const MIB = 1024 * 1024;

/** Flows that one tunnel may have open at a time; more wait at the agent until some end. */
export const MAX_FLOWS = 4096;

/**
 * Congestion control. With cubic and no pacing this engine counts a packet as sent up to `10 packets / (1.25 window)` round trips
 * before it was, so that below about 8 packets of window its round-trip time grows without end (15 s were seen on a path
 * of 40 ms) and every loss is noticed as much later. BBR paces in smaller units and is free of that: at 40 ms and 1 % loss
 * 92 instead of 2 to 9 Mbit/s, at 100 ms and 5 % loss 15 instead of 0.2.
 */
const CONGESTION = "bbr";

/**
 * Window that all flows of a tunnel share, in bytes. The engine widens it only when less than half of it is left, counting what
 * nobody has read as left: flows whose readers have stopped, with more than half of it unread between them, would stop every
 * other flow (20 stalled downloads did so at 256 MiB). So half of it is what 128 flows hold that had grown to their most. It is a
 * limit, no allocation: memory holds what applications leave unread, and nothing else.
 */
const COMMON_WINDOW = 4096 * MIB;

/**
 * Of a tunnel. A flow's window starts at 256 KiB and grows, as fast as its application reads, to 16 MiB (1 Gbit/s at 130 ms).
 * That is what an end may have to keep in memory for a flow whose application does not read.
 */
export function tunnelConfig(
  credentials: Credentials,
  options: { earlyData?: boolean; ticketKey?: Uint8Array } = {},
): NativeConfig {
  return createQuicConfig({
    credentials,
    alpn: ALPN_TUNNEL,
    idleTimeoutMs: TUNNEL_IDLE_TIMEOUT,
    streamWindow: MIB / 4,
    maxStreamWindow: 16 * MIB,
    connectionWindow: COMMON_WINDOW,
    maxConnectionWindow: COMMON_WINDOW,
    maxStreams: MAX_FLOWS,
    congestion: CONGESTION,
    ...options,
  });
}
