/**
 * Why a connection ended, for people.
 * @module
 */
import type { CloseReason } from "./connection_types.ts";

/** First and last error code that carry a TLS alert (RFC 9001 §4.8). */
const CRYPTO_ERRORS = { first: 0x100, last: 0x1ff } as const;

/** An end of a connection in words that go behind "as". */
export function describeClose(reason: CloseReason): string {
  const { by, code, application, text } = reason;
  if (text) return text;
  if (by === "timeout") return "it does not answer";
  if (!application && code >= CRYPTO_ERRORS.first && code <= CRYPTO_ERRORS.last) {
    return describeTlsAlert(code - CRYPTO_ERRORS.first, by);
  }
  return code === 0 ? "it was closed" : `it was closed with code ${code}`;
}

/** TLS alerts (RFC 8446 §6) that a person meets here. `by`: who found the fault, in the other's certificate. */
function describeTlsAlert(alert: number, by: CloseReason["by"]): string {
  const whose = by === "peer" ? "our certificate" : "its certificate";
  switch (alert) {
    case 42:
    case 46:
    case 48:
      return `${whose} is another's, or of another network`;
    case 43:
      return `${whose} is for another role`;
    case 44:
    case 45:
      return `${whose} has expired`;
    case 116:
      return "it wants a certificate";
    default:
      return `the TLS handshake failed (alert ${alert})`;
  }
}
