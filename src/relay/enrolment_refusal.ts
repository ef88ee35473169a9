/**
 * Why the relay refuses to enrol someone.
 * @module
 */
import type { EnrolmentErrorCode } from "../identity/enrolment_messages.ts";

/** A refusal that is told to the client as it is: its message holds nothing secret. */
export class EnrolmentRefusal extends Error {
  override readonly name = "EnrolmentRefusal";
  readonly code: EnrolmentErrorCode;
  constructor(code: EnrolmentErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
