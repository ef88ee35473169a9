/**
 * What a tunnel is made of.
 * @module
 */
import type { Logger } from "../core/mod.ts";
import type { MuxOptions } from "../mux/mod.ts";
import type { CloseReason } from "../quic/mod.ts";
import type { TunnelEgress } from "./tunnel_egress.ts";
import type { TunnelMessage } from "./tunnel_message.ts";

/** Which end this is. The agent is QUIC's client, as only a client can migrate. */
export type TunnelEnd = "agent" | "connector";

/**
 * Milliseconds without a packet after which an end gives the tunnel up. Long, as a laptop that slept for two minutes should find
 * its connections alive; a dead path is noticed in other ways, and sooner.
 */
export const TUNNEL_IDLE_TIMEOUT = 180_000;

/** A connector's answer to the hello. */
export type TunnelWelcome = Extract<TunnelMessage, { type: "welcome" }>;

/** What a tunnel needs of its role; `Tunnel` is the class, which this file may not know. */
export interface TunnelOptions<Tunnel> extends Pick<MuxOptions, "accept" | "acceptUdp"> {
  readonly id: string;
  readonly end: TunnelEnd;
  /** The other end's name; an agent may learn it only with the relay's answer. */
  readonly peer: string;
  readonly egress: TunnelEgress;
  readonly log: Logger;
  /**
   * Checks who is at the other end, from its certificates (DER, its own first). Answers why it is refused; `undefined`:
   * welcome. Nothing is sent or believed before it has answered.
   */
  readonly verify: (certificates: Uint8Array[]) => Promise<string | undefined> | string | undefined;
  /** Agent: what makes its hello unlike any other; null where the connector's clock is not known. */
  readonly stamp?: { readonly nonce: string; readonly issuedAt: number | null };
  /** Connector: may what came early be acted on before the handshake is over? */
  readonly judge?: (stamp: { nonce: string; issuedAt: number | null }) => boolean;
  /** Connector: its clock, and what shall not travel early, for the agent's next visit. */
  readonly welcome?: () => Pick<TunnelWelcome, "now" | "noEarlyServices">;
  /** Agent: the connector has answered the hello. */
  readonly onWelcome?: (tunnel: Tunnel, welcome: TunnelWelcome) => void;
  /** Round trip to the relay in milliseconds, as far as known: paces the first packets. */
  readonly relayRttMs?: number;
  readonly onOpen?: (tunnel: Tunnel) => void;
  readonly onClosed?: (tunnel: Tunnel, reason: CloseReason) => void;
}
