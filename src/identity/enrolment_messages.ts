/**
 * What client and relay say to each other to join and to renew: JSON in HTTPS POSTs.
 *
 * ```text
 * POST /v1/redeem  {"secret": base64url, "request": PKCS#10 PEM}                       -> Enrolled
 * POST /v1/renew   {"kind": "connector"|"agent", "request": PKCS#10 PEM}                -> Enrolled
 * Enrolled         {"certificate": PEM, "services": [name], "relays": ["host:port"]}
 * any failure      {"error": code, "message": text}, with a fitting HTTP status
 * ```
 * @module
 */
import * as v from "valibot";
import { RelaysSchema, ServicesSchema } from "./schemas.ts";

/** The most that a request's body may have: a PKCS#10 of ours has 400 bytes. */
export const MAX_ENROLMENT_REQUEST_BYTES = 16 * 1024;
/** The most that is read of an answer: the most services and relays with their names, twice over. */
export const MAX_ENROLMENT_ANSWER_BYTES = 64 * 1024;

/** Where a token is redeemed. */
export const REDEEM_PATH = "/v1/redeem";
/** Where a certificate is renewed. */
export const RENEW_PATH = "/v1/renew";

const RequestSchema = v.pipe(v.string(), v.maxLength(8192));

/** The body of a redeem request. */
export const RedeemRequestSchema = v.object({
  secret: v.pipe(v.string(), v.regex(/^[\w-]{22}$/, "expected 16 bytes in base64url")),
  request: RequestSchema,
});

/** The body of a renew request. The request's own signature shows that the sender holds the key. */
export const RenewRequestSchema = v.object({
  kind: v.picklist(["connector", "agent"]),
  request: RequestSchema,
});

/** The answer to both. */
export const EnrolledSchema = v.object({
  certificate: v.pipe(v.string(), v.maxLength(16_384)),
  services: ServicesSchema,
  relays: RelaysSchema,
});

/** Why the relay refused. The first group is final: asking again brings the same answer. */
export const ENROLMENT_ERROR_CODES = [
  "unknown-invite",
  "invite-used",
  "invite-expired",
  "unknown-identity",
  "revoked",
  "other-key",
  "bad-request",
  "not-found",
  // From here on: try again later.
  "not-signing",
  "internal",
] as const;
/** One of {@linkcode ENROLMENT_ERROR_CODES}. */
export type EnrolmentErrorCode = typeof ENROLMENT_ERROR_CODES[number];

const RETRYABLE: ReadonlySet<string> = new Set(["not-signing", "internal"]);

/** Is it worth asking again later? */
export function isRetryable(code: EnrolmentErrorCode): boolean {
  return RETRYABLE.has(code);
}

/** The answer when it failed. */
export const EnrolmentFailureSchema = v.object({
  /** One of {@linkcode ENROLMENT_ERROR_CODES}, or one that only a newer relay knows. */
  error: v.pipe(v.string(), v.maxLength(64)),
  message: v.pipe(v.string(), v.maxLength(1000)),
});
