/**
 * Statuses to show.
 * @module
 */
import type { ClientStatus, RelayStatus } from "../../src/roles/status.ts";

/** An agent with one direct tunnel. */
export const AGENT: ClientStatus = {
  role: "agent",
  name: "alice",
  version: "0.1.0",
  uptimeSeconds: 3725,
  pid: 7,
  relay: {
    state: "connected",
    address: "198.51.100.10:4433",
    rttMs: 40.12,
    earlyData: "accepted",
    connectMs: 41,
    reason: null,
    retryInMs: null,
  },
  sockets: {
    relay: { local: "[::]:51000", observed: { v4: "198.51.100.21:51000", v6: null } },
    p2p: { local: "[::]:51001", observed: { v4: null, v6: null } },
  },
  services: ["web"],
  endpoints: ["web=127.0.0.1:9000"],
  tunnels: [{
    peer: "home",
    services: ["web"],
    path: "direct",
    remote: "[2001:db8:22::2]:51003",
    rttMs: 40.3,
    mtu: 1452,
    earlyData: "accepted",
    openedMs: 82,
    directAfterMs: 95,
    pathChanges: 1,
    whyRelayed: null,
    flows: 2,
    bytesIn: 1024,
    bytesOut: 2048,
    flowList: [{
      service: "web",
      protocol: "tcp",
      peer: "127.0.0.1:50000",
      ageSeconds: 61,
      bytesIn: 10,
      bytesOut: 20,
      stalledBy: "application",
    }],
  }],
  early: null,
  certificateExpires: "2026-01-08T00:00:00.000Z",
};

/** A relay with one of each. */
export const RELAY: RelayStatus = {
  role: "relay",
  name: "relay",
  version: "0.1.0",
  uptimeSeconds: 5,
  pid: 8,
  public: ["relay.example.com:4433"],
  listen: "[::]:4433",
  clients: [{
    name: "home",
    kind: "connector",
    address: "198.51.100.22:51002",
    connectedSeconds: 4,
    services: ["web"],
    rttMs: 20,
  }],
  tunnels: [{ id: "00ff", agent: "alice", connector: "home", bytesForwarded: 1048576 }],
  forwarded: { datagrams: 1000, bytes: 1048576 },
  early: { accepted: 3, seen: 1, stale: 0, beforeStart: 0, full: 0, notWanted: 0 },
  dropped: { "bad mac": 2, "unknown tunnel": 0 },
};
