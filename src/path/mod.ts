/**
 * Direct ways between the two ends of a tunnel: candidates, probes, the puncher, the choice, their health and their packet
 * size. All pure; {@linkcode TunnelPaths} is the whole of it for one tunnel.
 * @module
 */
export * from "./attempt_outcome.ts";
export * from "./candidate.ts";
export * from "./direct_path.ts";
export * from "./gather.ts";
export * from "./mtu_search.ts";
export * from "./netcheck.ts";
export * from "./path_choice.ts";
export * from "./path_monitor.ts";
export * from "./probe_codec.ts";
export * from "./puncher.ts";
export * from "./puncher_io.ts";
export * from "./tunnel_paths.ts";
export * from "./why_relayed.ts";
