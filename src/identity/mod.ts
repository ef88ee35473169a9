/**
 * Who is who: names, keys, certificates, invites, known keys, and where they are kept.
 * @module
 */
export * from "./certificates.ts";
export * from "./client_identity.ts";
export * from "./default_folder.ts";
export * from "./enrol.ts";
export * from "./enrolment_error.ts";
export * from "./invite.ts";
export * from "./key_pair.ts";
export * from "./known_keys.ts";
export * from "./name.ts";
export * from "./peer_certificate.ts";
export * from "./pem.ts";
export * from "./pins.ts";
export * from "./renewal.ts";
export * from "./server_name.ts";
export * from "./settings.ts";
export * from "./state_error.ts";
export * from "./state_folder.ts";
export type { StateLock } from "./state_lock.ts";
