/**
 * Flows in a tunnel.
 * @module
 */
export * from "./flow_codec.ts";
export * from "./flow_refused.ts";
export * from "./mux.ts";
export type { ByteConn } from "./tcp_pipe.ts";
export { resetConn } from "./tcp_reset.ts";
export type { FlowInfo, StalledBy, TcpFlowEnd } from "./tcp_flow.ts";
