/**
 * What `postern status --json` prints: a contract with programs. Fields are added, never renamed or removed.
 * A value not known is null.
 * @module
 */

/** Was early data (0-RTT) used on a connection? */
export type EarlyDataState = "accepted" | "refused" | "none";

/** What became of messages that came as early data (0-RTT) since the start. Only `accepted` was acted on at once. */
export interface EarlyCounts {
  accepted: number;
  /** Seen before: a flight that somebody has recorded and sent again. */
  seen: number;
  /** Issued too long ago, or by a clock that is not known. */
  stale: number;
  /** Issued before this process could know what the one before it had accepted. */
  beforeStart: number;
  /** More at a time than are remembered. */
  full: number;
  /** Switched off here, or without a stamp. */
  notWanted: number;
}

/** A socket's own address as the relay sees it, per family, as `host:port`. */
export interface ObservedStatus {
  v4: string | null;
  v6: string | null;
}

/** One UDP socket. */
export interface SocketStatus {
  /** `[::]:51000` */
  local: string | null;
  observed: ObservedStatus;
}

/** A client's connection to its relay. */
export interface RelayLinkStatus {
  state: "connecting" | "connected" | "waiting" | "refused" | "closed";
  /** The relay's address in use, `198.51.100.10:4433`. */
  address: string | null;
  rttMs: number | null;
  earlyData: EarlyDataState | null;
  /** From the first datagram to the relay's welcome. */
  connectMs: number | null;
  /** Why it is not connected, in words. */
  reason: string | null;
  /** When the next try starts, in milliseconds from now. */
  retryInMs: number | null;
}

/** One flow in a tunnel. */
export interface FlowStatus {
  service: string;
  protocol: "tcp" | "udp";
  /** The local peer at an agent, the agent's name at a connector. */
  peer: string;
  ageSeconds: number;
  bytesIn: number;
  bytesOut: number;
  /** Who holds it up just now: nobody (null), the application on this side, or the other end of the tunnel. */
  stalledBy: "application" | "tunnel" | null;
}

/** One end-to-end connection between agent and connector. */
export interface TunnelStatus {
  /** The other end's name. */
  peer: string;
  services: string[];
  path: "direct" | "relayed";
  /** The other end's address on the direct path, or the relay's. */
  remote: string | null;
  rttMs: number | null;
  /** UDP payload bytes per packet on the path in use. */
  mtu: number | null;
  earlyData: EarlyDataState | null;
  /** From asking for the tunnel until it carried the first byte. */
  openedMs: number | null;
  /** From asking for the tunnel until the direct path was in use. */
  directAfterMs: number | null;
  pathChanges: number;
  /** `no IPv6 route; IPv4: both NATs map per destination` */
  whyRelayed: string | null;
  flows: number;
  bytesIn: number;
  bytesOut: number;
  flowList: FlowStatus[];
}

/** Agent and connector. */
export interface ClientStatus {
  role: "agent" | "connector";
  name: string | null;
  version: string;
  uptimeSeconds: number;
  pid: number;
  relay: RelayLinkStatus;
  sockets: { relay: SocketStatus; p2p: SocketStatus };
  /** What this end offers (connector) or may open (agent). */
  services: string[];
  /** Local ports that lead to services (agent) or targets (connector): `web=127.0.0.1:9000`. */
  endpoints: string[];
  tunnels: TunnelStatus[];
  /** Early data of agents; null at an agent, which receives none. */
  early: EarlyCounts | null;
  /** When the certificate ends, ISO 8601. */
  certificateExpires: string | null;
}

/** A client as the relay sees it. */
export interface RelayClientStatus {
  name: string;
  kind: "connector" | "agent";
  address: string;
  connectedSeconds: number;
  services: string[];
  rttMs: number | null;
}

/** The relay. */
export interface RelayStatus {
  role: "relay";
  name: string;
  version: string;
  uptimeSeconds: number;
  pid: number;
  /** How others reach it. */
  public: string[];
  /** UDP and TCP. */
  listen: string | null;
  clients: RelayClientStatus[];
  /** Tunnels that the relay has introduced and not seen end. */
  tunnels: { id: string; agent: string; connector: string; bytesForwarded: number }[];
  /** Sealed datagrams. */
  forwarded: { datagrams: number; bytes: number };
  /** Early data of clients. */
  early: EarlyCounts;
  /** Datagrams dropped, per reason. */
  dropped: Record<string, number>;
}

/** What the status socket answers. */
export type Status = ClientStatus | RelayStatus;
