/**
 * What a {@linkcode Puncher} is told, and what it wants done.
 * @module
 */
import type { Address } from "../core/address.ts";
import type { Millis } from "../core/clock.ts";
import type { AttemptOutcome } from "./attempt_outcome.ts";
import type { CandidateKind, Mappings, PathOffer } from "./candidate.ts";
import type { DirectPath, SocketId } from "./direct_path.ts";
import type { Probe, ProbeReply } from "./probe_codec.ts";

/** What is known of our own end. */
export interface LocalFacts {
  /** Families in which the P2P socket can send at all; others are not probed. */
  readonly families: readonly (4 | 6)[];
  readonly mapping: Mappings;
  /** The links of our own IPv6 addresses (see `linkOf`): who has an address there is beside us. */
  readonly links?: readonly string[];
}

/** What a puncher is told. */
export type PuncherInput =
  | { readonly type: "local"; readonly local: LocalFacts }
  /** The other end's offer. One that is not newer than the last is ignored. */
  | { readonly type: "remote"; readonly offer: PathOffer }
  | {
    readonly type: "probe";
    readonly probe: Probe;
    readonly socket: SocketId;
    readonly from: Address;
  }
  | {
    readonly type: "reply";
    readonly reply: ProbeReply;
    readonly socket: SocketId;
    readonly from: Address;
  }
  /** Sockets opened because of `open-guess-sockets`: as many as could be had. */
  | { readonly type: "guess-sockets"; readonly sockets: readonly SocketId[] }
  /** Does the tunnel carry traffic? */
  | { readonly type: "busy"; readonly busy: boolean }
  /** Which way the tunnel uses: its health is somebody else's business. */
  | { readonly type: "in-use"; readonly path: DirectPath | undefined }
  /** A way is dead, or failed to carry the tunnel. */
  | { readonly type: "lost"; readonly path: DirectPath }
  /** The way in use is in doubt: ask the other proven ones whether they still work. */
  | { readonly type: "recheck" }
  /** An interface, address or route of ours changed. */
  | { readonly type: "network-changed" }
  | { readonly type: "time" }
  | { readonly type: "stop" };

/** What a puncher wants done. */
export type PuncherOutput =
  | {
    readonly type: "send";
    readonly socket: SocketId;
    readonly to: Address;
    readonly datagram: Uint8Array;
  }
  /** Proven in both directions with packets of `mtu` bytes. */
  | {
    readonly type: "validated";
    readonly path: DirectPath;
    readonly kind: CandidateKind;
    readonly rtt: Millis;
    readonly mtu: number;
  }
  /** A proven way has shown that it still works. */
  | { readonly type: "confirmed"; readonly path: DirectPath }
  /** A proven way (not the one in use) stopped answering. */
  | { readonly type: "invalidated"; readonly path: DirectPath }
  /** Send our offer again (with a greater generation), so that both ends try anew together. Agent only. */
  | { readonly type: "exchange" }
  /** Open this many extra UDP sockets of the family and tell their numbers with `guess-sockets`. */
  | { readonly type: "open-guess-sockets"; readonly family: 4 | 6; readonly count: number }
  /** Close the extra sockets, all but `keep`. */
  | { readonly type: "close-guess-sockets"; readonly keep: SocketId | undefined }
  /** An attempt ended without a way in this family. */
  | { readonly type: "outcome"; readonly family: 4 | 6; readonly outcome: AttemptOutcome };

/** What a puncher is at. */
export type PuncherState =
  /** Knows nobody to probe. */
  | { readonly name: "waiting" }
  /** Probing for all it is worth. */
  | { readonly name: "active"; readonly since: Millis }
  /** Nothing answered: rounds of small probes, for ever. */
  | { readonly name: "background"; readonly round: number; readonly at: Millis }
  /** At least one way is proven. */
  | { readonly name: "settled"; readonly at: Millis }
  | { readonly name: "stopped" };
