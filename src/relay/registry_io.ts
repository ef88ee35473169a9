/**
 * What goes into the registry and what comes out, and its bounds.
 * @module
 */
import type { Address, Millis } from "../core/mod.ts";
import type { ClientMessageOf, ErrorCode, RelayMessage } from "../control/messages.ts";
import type { PolicySnapshot } from "./registry_policy.ts";
import type { SessionId, SessionIdentity } from "./registry_sessions.ts";

/** Clients at once; the next is refused. Each costs some KiB here and in the QUIC engine. */
export const MAX_SESSIONS = 10_000;

/** Tunnels at once, five for every client; the next is refused. Each costs about 1 KiB here and in the forwarder. */
export const MAX_TUNNELS = 50_000;

/**
 * How long a tunnel waits for an end that is away: longer than a client's longest wait between two attempts (30 s),
 * so that one that comes back by itself finds its tunnels.
 */
export const TUNNEL_GRACE_MS = 60_000;

/** Bounds, smaller in tests. */
export interface RegistryOptions {
  readonly policy: PolicySnapshot;
  /** @default 10,000 */
  readonly maxSessions?: number;
  /** @default 50,000 */
  readonly maxTunnels?: number;
  /** @default 64 */
  readonly maxTunnelsPerAgent?: number;
  /** Milliseconds. @default 60,000 */
  readonly graceMs?: Millis;
}

/** A client whose hello was judged good and answered with welcome. */
export interface OpenSession {
  readonly session: SessionId;
  readonly identity: SessionIdentity;
  /** From its hello. */
  readonly instance: string;
  readonly attempt: number;
  /** Where its datagrams come from. */
  readonly address: Address;
}

/** Requests out of a relay session that the registry answers. */
export type RegistryRequest = ClientMessageOf<
  "register" | "review" | "connect" | "observed" | "disconnect"
>;

/** What happens. */
export type RegistryInput =
  | ({ readonly type: "open" } & OpenSession)
  /** The client's address changed (NAT rebinding, roaming), validated by QUIC. */
  | { readonly type: "address"; readonly session: SessionId; readonly address: Address }
  /** The client's P2P socket has asked from there where it is seen. */
  | { readonly type: "asked"; readonly session: SessionId; readonly from: Address }
  | { readonly type: "request"; readonly session: SessionId; readonly request: RegistryRequest }
  /** The connection is gone. */
  | { readonly type: "close"; readonly session: SessionId }
  | { readonly type: "policy"; readonly policy: PolicySnapshot }
  /** No new tunnels or clients from now on. */
  | { readonly type: "drain"; readonly graceMs: Millis }
  | { readonly type: "tick" };

/** What to do. */
export type RegistryOutput =
  | { readonly type: "send"; readonly session: SessionId; readonly message: RelayMessage }
  /** End the session, telling why. No `close` input is needed after it (and does no harm). */
  | {
    readonly type: "close";
    readonly session: SessionId;
    readonly code: ErrorCode;
    readonly message: string;
  }
  /** Forward between these two; what is undefined is away just now, and what comes for it is dropped. */
  | {
    readonly type: "route";
    readonly tunnelId: string;
    /** The agent's. */
    readonly a: Address | undefined;
    /** The connector's. */
    readonly b: Address | undefined;
  }
  /** Forward nothing for this tunnel any more. */
  | { readonly type: "unroute"; readonly tunnelId: string };
