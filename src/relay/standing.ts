/**
 * What the relay thinks of one who shows a good certificate.
 * @module
 */
import type { Name } from "../identity/mod.ts";
import type { ClientKind } from "../identity/schemas.ts";
import { EnrolmentRefusal } from "./enrolment_refusal.ts";

/** Whom a certificate names. */
export interface Claim {
  readonly kind: ClientKind;
  readonly name: Name;
  readonly pin: string;
}

/** What the relay thinks of one who shows a good certificate. Only `good` may go on. */
export type Standing = "good" | "unknown" | "revoked" | "other-key";

/** What to tell one whose standing is not good. */
export function refusalOf(standing: Exclude<Standing, "good">, claim: Claim): EnrolmentRefusal {
  const who = `${claim.kind} "${claim.name}"`;
  switch (standing) {
    case "unknown":
      return new EnrolmentRefusal("unknown-identity", `${who} is not known here`);
    case "revoked":
      return new EnrolmentRefusal("revoked", `${who} has been revoked`);
    case "other-key":
      return new EnrolmentRefusal("other-key", `${who} has joined with another key since`);
  }
}

/** Why a connection with a certificate of ours is not served: its holder's standing, or the certificate's dates. */
export const NOT_WELCOME: Readonly<Record<Exclude<Standing, "good"> | "expired", string>> = {
  unknown: "it is not known here",
  "other-key": "another key has joined by that name since",
  expired: "its certificate has expired",
  revoked: "it was revoked",
};
