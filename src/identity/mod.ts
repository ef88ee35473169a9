/**
 * Who is who: names, keys, certificates, invites, pins, and where they are kept.
 * @module
 */
export * from "./certificates.ts";
export * from "./key_pair.ts";
export * from "./name.ts";
export * from "./peer_certificate.ts";
export * from "./pem.ts";
export * from "./server_name.ts";
