/**
 * What only the relay does: who is there, who may do what, joining, and passing sealed packets on.
 * @module
 */
export { type AuditEvent, MAX_AUDIT_EVENTS } from "./audit_log.ts";
export * from "./authority.ts";
export * from "./enrolment.ts";
export * from "./enrolment_refusal.ts";
export * from "./enrolment_server.ts";
export {
  type InviteRequest,
  MAX_INVITE_TTL,
  type RedeemRequest,
  type Redemption,
  type StoredInvite,
} from "./invite_book.ts";
export * from "./invite_token.ts";
export * from "./state.ts";
export * from "./store.ts";
export * from "./ticket_key_file.ts";
