/**
 * What commands ask of a running role over its status socket, and what it answers: `status`, `ping`, `netcheck`,
 * `connect`, `forget`. One JSON object a line, both ways.
 * @module
 */
import { isName, type Name } from "../identity/name.ts";

/** How a running role is. Answered with one {@linkcode Status}. */
export interface StatusAsk {
  readonly ask: "status";
}

/** Echoes through the tunnel to the connector of a service. Answered with {@linkcode PingAnswer}s as they happen. */
export interface PingAsk {
  readonly ask: "ping";
  readonly service: Name;
  /** How many; 0: until the asker goes away. */
  readonly count: number;
  readonly intervalMs: number;
  /** When an echo counts as lost. */
  readonly timeoutMs: number;
}

/** What can be known about the network from here. Answered with one {@linkcode NetcheckReport}. */
export interface NetcheckAsk {
  readonly ask: "netcheck";
}

/** Opens one flow; after the first answer (`{"connected": SERVICE}`) the connection carries its bytes, both ways. */
export interface ConnectAsk {
  readonly ask: "connect";
  readonly service: Name;
}

/** Forgets the key of a peer that was set up anew on purpose. Answered with one {@linkcode ForgetAnswer}. */
export interface ForgetAsk {
  readonly ask: "forget";
  readonly kind: "connector" | "agent";
  readonly name: Name;
}

/** Was there a key to forget? */
export interface ForgetAnswer {
  readonly forgotten: boolean;
}

/** One request. */
export type Ask = StatusAsk | PingAsk | NetcheckAsk | ConnectAsk | ForgetAsk;

/** One line of a `ping`. */
export type PingAnswer =
  /** An echo came back. `remote`: where packets go on this path. */
  | {
    readonly event: "echo";
    readonly seq: number;
    readonly ms: number;
    readonly path: "direct" | "relayed";
    readonly remote: string | null;
  }
  /** No echo within the time-out. */
  | { readonly event: "lost"; readonly seq: number }
  /** The tunnel moved to another path. `afterMs`: since the tunnel was asked for; `reason`: why, in words. */
  | {
    readonly event: "path";
    readonly path: "direct" | "relayed";
    readonly remote: string | null;
    readonly afterMs: number | null;
    readonly reason: string | null;
  };

/** How a NAT maps or filters, in the words of RFC 4787 §4.1 and §5. `none`: there is no NAT (or no filter). */
export type NatBehaviour =
  | "none"
  | "endpoint-independent"
  | "address-dependent"
  | "address-and-port-dependent";

/**
 * How a NAT or firewall filters. One relay address cannot tell "endpoint-independent" from "address-dependent", so where it is one of
 * the two, that is what it says.
 */
export type FilteringBehaviour = NatBehaviour | "endpoint-independent or address-dependent";

/** One address family in a {@linkcode NetcheckReport}. */
export interface NetcheckFamily {
  /** Does this machine have a route of this family? */
  readonly route: boolean;
  /** Its own addresses, without port. */
  readonly local: readonly string[];
  /** The P2P socket as the relay sees it. */
  readonly observed: string | null;
  /** Does UDP reach the relay? null: not known. */
  readonly udp: boolean | null;
  readonly mapping: NatBehaviour | null;
  readonly filtering: FilteringBehaviour | null;
  /** Largest UDP payload proven towards the relay, in bytes. */
  readonly pathMtu: number | null;
}

/** What `netcheck` tells. Fields are added, never renamed or removed; a value not known is null. */
export interface NetcheckReport {
  readonly relay: {
    readonly address: string | null;
    readonly state: string;
    readonly rttMs: number | null;
  };
  readonly v4: NetcheckFamily;
  readonly v6: NetcheckFamily;
  /** What this means for direct paths, in words a person can act on. */
  readonly advice: readonly string[];
}

function isWithin(value: unknown, min: number, max: number): value is number {
  return Number.isInteger(value) && value as number >= min && value as number <= max;
}

/** Checks what came over the socket; `undefined` where it is no request that we know. Total. */
export function parseAsk(value: unknown): Ask | undefined {
  if (value === null || typeof value !== "object") return undefined;
  const { ask, service, kind, name, count, intervalMs, timeoutMs } = value as Record<
    string,
    unknown
  >;
  if (ask === "status" || ask === "netcheck") return { ask };
  if (ask === "connect" && isName(service)) return { ask, service };
  if (ask === "forget" && (kind === "connector" || kind === "agent") && isName(name)) {
    return { ask, kind, name };
  }
  // Ten echoes a second at most, for at most a million: a ping is no load test.
  if (
    ask === "ping" && isName(service) && isWithin(count, 0, 1_000_000) &&
    isWithin(intervalMs, 100, 3_600_000) && isWithin(timeoutMs, 100, 600_000)
  ) {
    return { ask, service, count, intervalMs, timeoutMs };
  }
  return undefined;
}
