/**
 * Flows in a tunnel.
 * @module
 */
export * from "./flow_codec.ts";
export * from "./flow_refused.ts";
export * from "./mux.ts";
export type { ByteConn } from "./tcp_pipe.ts";
export { resetConn } from "./tcp_reset.ts";
export type { FlowEnd, FlowInfo, StalledBy } from "./flow_end.ts";
export type { PacketConn, UdpFlow } from "./udp_flow.ts";
export { MAX_UDP_FLOWS, type UdpDrops } from "./udp_flows.ts";
