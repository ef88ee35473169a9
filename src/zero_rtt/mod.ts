/**
 * Coming back early: tickets, what may travel before the handshake ends, and the guard that takes it at most once.
 *
 * @module
 */
export * from "./clock_offset.ts";
export * from "./early_message.ts";
export * from "./early_policy.ts";
export * from "./limits.ts";
export * from "./parsed.ts";
export * from "./receiver_clock.ts";
export * from "./replay_guard.ts";
export * from "./session_lifetime.ts";
export * from "./ticket_keys.ts";
export * from "./ticket_store.ts";
