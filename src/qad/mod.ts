/**
 * QUIC Address Discovery: which address does the other side see? Codecs, the relay's side, the client's side; all pure.
 * @module
 */
export * from "./address_codec.ts";
export * from "./discovery.ts";
export * from "./nat_behaviour.ts";
export * from "./observe_codec.ts";
export * from "./observer.ts";
export * from "./primitives.ts";
