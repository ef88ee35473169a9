/**
 * UDP: portable and Linux-batched sockets behind one interface, the dual-socket layout, first-byte demultiplexing.
 * @module
 */
export * from "./demultiplexer.ts";
export * from "./dual_sockets.ts";
export * from "./memory_socket.ts";
export * from "./network_watch.ts";
export * from "./open.ts";
export { LoopTurn } from "./turn.ts";
export * from "./udp_socket.ts";
