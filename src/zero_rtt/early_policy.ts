/**
 * What may travel early, and what may be acted on early: two tables.
 * @module
 */
import type { ReplayVerdict } from "./replay_guard.ts";

/** What a client knows when it is about to connect. */
export interface SendFacts {
  /** False with `--no-early-data`. */
  readonly enabled: boolean;
  readonly ticket: "good" | "none" | "expired";
  /** The receiver's clock is known from an earlier visit. */
  readonly clockKnown: boolean;
  /** The service that is asked for; at the relay's hello, or where the tunnel is opened without a flow: `none`. */
  readonly service: "allows" | "opted-out" | "none";
}

/**
 * What a client does:
 * - `early`: the hello and, behind it, the first flow's bytes as early data;
 * - `early-without-flow`: as above, but the flow waits for the handshake, as the service opted out;
 * - `wait`: everything after the handshake.
 */
export type SendDecision =
  | { readonly send: "early" | "early-without-flow" }
  | {
    readonly send: "wait";
    readonly reason: "disabled" | "no-ticket" | "ticket-expired" | "clock-unknown";
  };

/** Decides what a client sends before the handshake has ended. */
export function decideSend(facts: SendFacts): SendDecision {
  if (!facts.enabled) return { send: "wait", reason: "disabled" };
  if (facts.ticket === "none") return { send: "wait", reason: "no-ticket" };
  if (facts.ticket === "expired") return { send: "wait", reason: "ticket-expired" };
  if (!facts.clockKnown) return { send: "wait", reason: "clock-unknown" };
  return { send: facts.service === "opted-out" ? "early-without-flow" : "early" };
}

/** What a receiver knows about bytes that arrived. */
export interface ReceiveFacts {
  /** The bytes came before the handshake had ended. */
  readonly early: boolean;
  /** False with `--no-early-data`. */
  readonly enabled: boolean;
  /** The peer's certificate, looked at now: resumption itself does not look again. */
  readonly identity: "good" | "unknown" | "expired" | "revoked";
  /** What the guard said; `undefined` where the bytes are not early. */
  readonly replay: ReplayVerdict | undefined;
  /** The service that is asked for, if one is. */
  readonly service: "allows" | "opted-out" | "none";
}

/**
 * What a receiver does:
 * - `now`: act on the bytes;
 * - `after-handshake`: hold them until the handshake has ended, then act on them;
 * - `refuse`: close the connection, act on nothing.
 */
export type ReceiveDecision =
  | { readonly act: "now" }
  | {
    readonly act: "after-handshake";
    readonly reason:
      | "disabled"
      | "service-opted-out"
      | Exclude<ReplayVerdict, "accept">
      | "unstamped";
  }
  | { readonly act: "refuse"; readonly reason: "unknown" | "expired" | "revoked" };

/** Decides what a receiver does with bytes that arrived. Revocation and expiry beat everything, early or not. */
export function decideReceive(facts: ReceiveFacts): ReceiveDecision {
  if (facts.identity !== "good") return { act: "refuse", reason: facts.identity };
  if (!facts.early) return { act: "now" };
  if (!facts.enabled) return { act: "after-handshake", reason: "disabled" };
  if (facts.replay === undefined) return { act: "after-handshake", reason: "unstamped" };
  if (facts.replay !== "accept") return { act: "after-handshake", reason: facts.replay };
  if (facts.service === "opted-out") return { act: "after-handshake", reason: "service-opted-out" };
  return { act: "now" };
}
