/**
 * The end-to-end connection.
 * @module
 */
export * from "./direct_part.ts";
export * from "./direct_side.ts";
export { makeKnock } from "./knock.ts";
export * from "./sealed.ts";
export * from "./sealed_router.ts";
export * from "./tunnel.ts";
export * from "./tunnel_egress.ts";
export * from "./tunnel_message.ts";
export * from "./tunnel_options.ts";
