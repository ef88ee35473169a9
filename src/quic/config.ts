/**
 * One place for every transport setting, each with its reason.
 * @module
 */
import { encodeUtf8 } from "../core/mod.ts";
import { EngineConfig, type NativeConfig } from "./engine.ts";

/** ALPN of the control connection, agent or connector to relay. */
export const ALPN_CONTROL = "postern-relay/1";
/** ALPN of the tunnel, agent to connector. */
export const ALPN_TUNNEL = "postern/1";

/**
 * Largest QUIC packet that we ever build, in bytes. Congestion control counts in this unit (initial window 10 of them,
 * additive increase 1), so it is what an Ethernet path carries (1500 - 20 IPv4 - 8 UDP), not what loopback could.
 */
export const MAX_PACKET = 1472;

/** Smallest UDP payload that a QUIC path must carry (RFC 9000 §14). */
export const MIN_PACKET = 1200;

/** Largest UDP payload that a peer may send us: any UDP datagram at all. */
const MAX_RECEIVED_PACKET = 65_527;

/** Certificates and key of this end, and the authority that both ends trust. All PEM. */
export interface Credentials {
  readonly caPem: string;
  readonly certPem: string;
  readonly keyPem: string;
}

/** What differs from one kind of connection to another. */
export interface QuicSettings {
  readonly credentials: Credentials;
  readonly alpn: string;
  /** Milliseconds without any packet after which the connection is dead. */
  readonly idleTimeoutMs: number;
  /** Flow-control window of a stream at the start, in bytes; the engine widens it up to `maxStreamWindow`. */
  readonly streamWindow: number;
  readonly maxStreamWindow: number;
  /** Flow-control window of the whole connection at the start, in bytes. */
  readonly connectionWindow: number;
  readonly maxConnectionWindow: number;
  /** Streams that the peer may have open at a time. */
  readonly maxStreams: number;
  /** Largest packet this connection may ever build, in bytes. @default {@linkcode MAX_PACKET} */
  readonly maxPacket?: number;
  /** Allow 0-RTT. @default false */
  readonly earlyData?: boolean;
  /** 48 bytes; a server keeps it over restarts so that tickets stay good. */
  readonly ticketKey?: Uint8Array;
  /** Milliseconds that we may take to acknowledge: the other end's probe timeout waits so much longer. @default 25 (RFC 9000 §18.2) */
  readonly maxAckDelayMs?: number;
  /** Congestion control. @default "cubic" */
  readonly congestion?: "cubic" | "bbr" | "reno";
}

/** DATAGRAM frames that wait to be read; when it is full the oldest are lost. */
const DATAGRAM_RECEIVE_QUEUE = 4096;

/**
 * DATAGRAM frames that wait to be sent; when it is full the newest is lost. Short, as what waits here comes late: 256 of
 * them are 25 ms of 100 Mbit/s.
 */
const DATAGRAM_SEND_QUEUE = 256;

/**
 * Paths that a connection may have in its life, as the engine never forgets one whose connection id it still holds: each
 * new address of either end is one (a laptop that wakes up elsewhere, a NAT that has forgotten), coming back to a known one is
 * none. At the bound the engine takes nothing from further addresses, and the connection ends by its idle timeout. The engine
 * counts connection ids and paths with one limit; ids are given out as they are needed only.
 */
const MAX_PATHS = 64;

/**
 * The engine's configuration for one kind of connection. Peers must show a certificate of the same authority *in the
 * handshake*, whichever side they are: a stranger gets nothing after it.
 *
 * @throws {TypeError} where a certificate or key is not what the engine reads
 */
export function createQuicConfig(settings: QuicSettings): NativeConfig {
  const { credentials } = settings;
  let config: NativeConfig;
  try {
    config = EngineConfig.withBoringSslCtx(
      true,
      false,
      encodeUtf8(credentials.caPem),
      [encodeUtf8(credentials.keyPem)],
      [encodeUtf8(credentials.certPem)],
    );
  } catch (cause) {
    throw new TypeError("Cannot use certificate and key as the TLS library refuses them", {
      cause,
    });
  }
  config.verifyPeer(true);
  config.setApplicationProtos([settings.alpn]);
  config.setMaxIdleTimeout(settings.idleTimeoutMs);
  config.setMaxSendUdpPayloadSize(settings.maxPacket ?? MAX_PACKET);
  config.setMaxRecvUdpPayloadSize(MAX_RECEIVED_PACKET);
  config.setInitialMaxData(settings.connectionWindow);
  config.setMaxConnectionWindow(settings.maxConnectionWindow);
  config.setInitialMaxStreamDataBidiLocal(settings.streamWindow);
  config.setInitialMaxStreamDataBidiRemote(settings.streamWindow);
  config.setInitialMaxStreamDataUni(0);
  config.setMaxStreamWindow(settings.maxStreamWindow);
  config.setInitialMaxStreamsBidi(settings.maxStreams);
  config.setInitialMaxStreamsUni(0);
  config.setActiveConnectionIdLimit(MAX_PATHS);
  config.setDisableActiveMigration(false);
  config.enableDgram(true, DATAGRAM_RECEIVE_QUEUE, DATAGRAM_SEND_QUEUE);
  config.setCcAlgorithmName(settings.congestion ?? "cubic");
  // For its clock, not for its pace (see `pacer.ts`): the engine takes for a packet's departure the moment in which its pacer had it
  // due. Off, that moment stands still for 0.8 * 14,720 bytes / window of a round trip; once a loss or two have cut the window to 7
  // packets or fewer, each round trip measured is longer than the one before, without end, and no acknowledgement of a packet sent
  // "before the loss" widens the window again: 3 Mbit/s at 10 ms and 1 % loss.
  config.enablePacing(true);
  // With that clock some round trips look shorter than they are, the next one then longer, and HyStart++ (RFC 9406) ends slow start
  // on that: one in five transfers at 100 ms took 6.1 s instead of 2.5. Slow start ends with the first loss.
  config.enableHystart(false);
  config.setMaxAckDelay(settings.maxAckDelayMs ?? 25);
  // Greasing would set the QUIC bit at random, and the first byte is how our sockets tell datagrams apart.
  config.grease(false);
  if (settings.earlyData) config.enableEarlyData();
  if (settings.ticketKey) config.setTicketKey(settings.ticketKey);
  return config;
}
