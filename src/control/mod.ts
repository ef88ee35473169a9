/**
 * The control connection: its messages, both ends' sessions, and when to reconnect. All of it is pure.
 * @module
 */
export * from "./address_order.ts";
export * from "./client_session.ts";
export { CONNECT_TIMEOUT_MS, MAX_TUNNELS_PER_AGENT, type TunnelOutput } from "./client_tunnels.ts";
export * from "./frame_channel.ts";
export { MAX_AGENT_GRANTS, MAX_PEERS, MAX_SERVICES } from "./fields.ts";
export * from "./framing.ts";
export * from "./messages.ts";
export * from "./parse.ts";
export * from "./reconnect.ts";
export * from "./relay_session.ts";
export * from "./stranger_codec.ts";
