/**
 * What every flow is to those who count, show or end flows, whatever its kind.
 * @module
 */
import type { FlowKind } from "./flow_codec.ts";

/** Who holds a flow up. */
export type StalledBy = "application" | "tunnel";

/** What a flow is about, for status and logs. */
export interface FlowInfo {
  readonly service: string;
  /** The local peer at an agent; the agent's name at a connector. */
  readonly peer: string;
}

/** One end of a flow. */
export interface FlowEnd {
  readonly kind: FlowKind;
  /** Its stream's id: the same at both ends. */
  readonly id: number;
  readonly info: FlowInfo;
  /** `performance.now()` */
  readonly openedAt: number;
  /** Bytes for this end's application, that came out of the tunnel. */
  readonly bytesIn: number;
  /** Bytes of this end's application, that went into the tunnel. */
  readonly bytesOut: number;
  /** Has it ever had a connection or socket at this end? */
  readonly carried: boolean;
  /** Who has held it up for a while; nobody: null. */
  readonly stalledBy: StalledBy | null;
  /** Ends the flow here and at the other end; what is under way is lost. */
  abort(): void;
  /** The other end has aborted the flow. */
  peerAborted(): void;
}

/** What a flow needs of its mux. */
export interface FlowHost {
  /** Tells the other end that the flow was aborted. */
  sendAbort(streamId: number): void;
  /** The flow is over in both directions. */
  flowEnded(flow: FlowEnd): void;
}
