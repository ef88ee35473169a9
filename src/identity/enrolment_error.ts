/**
 * Why a machine could not join a network, or renew its certificate.
 * @module
 */
import { UserError } from "../core/mod.ts";
import { type EnrolmentErrorCode, isRetryable } from "./enrolment_messages.ts";

/** What the relay answers, and what goes wrong before and after it. */
export type EnrolFailure = EnrolmentErrorCode | "unreachable" | "wrong-relay" | "wrong-answer";

/** Joining or renewing failed. `retryable` says whether trying again later can help without a person. */
export class EnrolmentError extends UserError {
  readonly code: EnrolFailure;
  readonly retryable: boolean;
  constructor(
    code: EnrolFailure,
    message: string,
    options: { next?: string; cause?: unknown } = {},
  ) {
    super(message, options);
    this.code = code;
    // A wrong relay may be a hotel's login page: it passes. A wrong answer comes from the right relay: it does not.
    this.retryable = code === "unreachable" || code === "wrong-relay" ||
      (code !== "wrong-answer" && isRetryable(code));
  }
}

const ANEW = "Ask whoever runs the relay for a new invite: postern invite …";

const NEXT: Partial<Record<EnrolFailure, string>> = {
  "unknown-invite": ANEW,
  "invite-used": ANEW,
  "invite-expired": ANEW,
  "unknown-identity": ANEW,
  "revoked": ANEW,
  "other-key": ANEW,
  "not-signing": "Start the relay with --ca-key, or sign elsewhere",
  "bad-request": "Update Postern here or at the relay, so that both have the same version",
  "not-found": "Update Postern here or at the relay, so that both have the same version",
};

/** What the relay refused, in words for the person at this machine. */
export function refusedByRelay(
  code: EnrolmentErrorCode,
  options: { action: string; message: string },
): EnrolmentError {
  const next = NEXT[code];
  return new EnrolmentError(
    code,
    `Cannot ${options.action} as the relay refuses: ${options.message}`,
    next === undefined ? {} : { next },
  );
}
