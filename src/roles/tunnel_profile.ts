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
 * Congestion control. BBR would stand losses better. But this engine starts BBR's state on a
 * connection's first path only: on every later one the shortest round trip counts as zero, and the window stays at six packets, until
 * that estimate expires after 10 s. 4 MB right after going direct (100 Mbit/s, 40 ms) took 10.5 s, and that moment
 * comes with every tunnel; much loss does not.
 */
const CONGESTION = "cubic";

/**
 * The engine acknowledges with the next packet that it may send, and we let it at the end of each turn: a busy one takes some
 * milliseconds.
 */
const MAX_ACK_DELAY = 5;

/**
 * Window that all flows of a tunnel share, in bytes. The engine widens it only when less than half of it is left, counting what
 * nobody has read as left: flows whose readers have stopped, with more than half of it unread between them, would stop every
 * other flow (20 stalled downloads did so at 256 MiB). So half of it is what 78 flows hold that had grown to their most. It is a
 * limit, no allocation: memory holds what applications leave unread, and nothing else: 256 KiB for a flow that was never read.
 */
const COMMON_WINDOW = 4096 * MIB;

/**
 * The most that a flow's window grows to, in bytes. The engine moves a window on when half of it is used up, so a path is full with a
 * window of twice what is under way: 1 Gbit/s at 100 ms is 12.5 MB. With 16 MiB it was two thirds full.
 */
export const MAX_FLOW_WINDOW = 26 * MIB;

/**
 * Of a tunnel. A flow's window starts at 256 KiB and grows, as fast as its application reads, to {@linkcode MAX_FLOW_WINDOW}.
 * That is what an end may have to keep in memory for a flow whose application does not read.
 *
 * Once the first 256 KiB are used up the engine goes on from 32 KiB, which double in a round trip: four of them are lost to a flow
 * that sends more. A smaller start would lose less then and more before (at 48 KiB and 100 ms: 250 KB come 190 ms later, 10 MB
 * 320 ms sooner), a larger one would lose as much, later.
 */
export function tunnelConfig(
  credentials: Credentials,
  options: { earlyData?: boolean; ticketKey?: Uint8Array; idleTimeoutMs?: number } = {},
): NativeConfig {
  return createQuicConfig({
    credentials,
    alpn: ALPN_TUNNEL,
    idleTimeoutMs: TUNNEL_IDLE_TIMEOUT,
    streamWindow: MIB / 4,
    maxStreamWindow: MAX_FLOW_WINDOW,
    connectionWindow: COMMON_WINDOW,
    maxConnectionWindow: COMMON_WINDOW,
    maxStreams: MAX_FLOWS,
    congestion: CONGESTION,
    maxAckDelayMs: MAX_ACK_DELAY,
    ...options,
  });
}
