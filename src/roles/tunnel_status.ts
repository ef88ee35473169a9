/**
 * One tunnel as status tells it.
 * @module
 */
import type { Tunnel } from "../tunnel/mod.ts";
import type { TunnelStatus } from "./status.ts";

/** What is known outside of the tunnel. */
export interface TunnelView {
  /** The relay's address just now. */
  readonly relay: string | null;
  /** Why it is relayed, in words. */
  readonly whyRelayed: (tunnel: Tunnel) => string | null;
}

/** Reads it all off. */
export function tunnelStatus(tunnel: Tunnel, { relay, whyRelayed }: TunnelView): TunnelStatus {
  const { mux, connection } = tunnel;
  const flows = [...mux.flows.values()];
  return {
    peer: tunnel.peer,
    services: [...tunnel.services],
    path: tunnel.path,
    remote: tunnel.path === "direct" ? connection.peer.key : relay,
    rttMs: connection.rttMs() ?? null,
    mtu: tunnel.egress.packetSize(connection.peer) +
      tunnel.egress.prefix(connection.peer).length,
    earlyData: tunnel.isOpen ? tunnel.earlyData : null,
    openedMs: tunnel.openedMs ?? null,
    directAfterMs: tunnel.direct?.directAfterMs ?? null,
    pathChanges: tunnel.direct?.pathChanges ?? 0,
    whyRelayed: tunnel.path === "relayed" ? whyRelayed(tunnel) : null,
    flows: flows.length,
    bytesIn: mux.bytesIn,
    bytesOut: mux.bytesOut,
    flowList: flows.map((flow) => ({
      service: flow.info.service,
      protocol: flow.kind,
      peer: flow.info.peer,
      ageSeconds: Math.floor((performance.now() - flow.openedAt) / 1000),
      bytesIn: flow.bytesIn,
      bytesOut: flow.bytesOut,
      stalledBy: flow.stalledBy,
    })),
  };
}
