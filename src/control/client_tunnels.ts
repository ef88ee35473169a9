/**
 * The tunnels that an agent asks its relay for, and keeps asking for: connections to the relay come and go,
 * the tunnels stay.
 *
 * ```
 *            connect              granted                start (next connection), or offline
 * (none) ----------------> pending ------> live  <----------------------------> resuming
 *            refused, time-out |            | disconnected, disconnect  |  granted: live again
 *                              v            v                           v
 *                            (none)       (none)                      (none)
 * ```
 * @module
 */
import type { Millis } from "../core/mod.ts";
import type { ClientMessageOf, RefusedReason, RelayMessageOf } from "./messages.ts";

/** Tunnels of one agent, whatever their state. The relay holds the same bound. */
export const MAX_TUNNELS_PER_AGENT = 64;

/** How long an application waits for a tunnel: long enough for a relay that restarts, short of a browser's patience. */
export const CONNECT_TIMEOUT_MS = 10_000;

/**
 * A tunnel whose connector is not back yet is asked for again after 250 ms, twice that, and so on up to 2 s: after a
 * relay's restart both ends must be back within 3 s, and an agent's 64 tunnels make 32 small messages a second then.
 */
export const RESUME_RETRY_MS = { first: 250, most: 2_000 } as const;

/** What the agent's role hears about its tunnels. */
export type TunnelOutput =
  | { readonly type: "send"; readonly message: ClientMessageOf<"connect" | "disconnect"> }
  /** Open. `resumed`: it was open before. */
  | {
    readonly type: "granted";
    readonly service: string;
    readonly grant: RelayMessageOf<"granted">;
    readonly resumed: boolean;
  }
  /** Not opened, and not asked for again. */
  | {
    readonly type: "refused";
    readonly tunnelId: string;
    readonly service: string;
    readonly reason: RefusedReason | "timeout";
    readonly message: string;
  }
  /**
   * The relay does not forward it any more. `final: false`: the session goes on asking for it, and a direct path is
   * not concerned.
   */
  | {
    readonly type: "disconnected";
    readonly tunnelId: string;
    readonly reason: RelayMessageOf<"disconnected">["reason"] | RefusedReason;
    readonly final: boolean;
  };

interface Base {
  readonly tunnelId: string;
  readonly service: string;
  readonly connector: string | null;
}
/** `request` is undefined while there is no connection to ask on. */
type Tunnel =
  & Base
  & (
    | { readonly state: "pending"; readonly request: number | undefined; readonly until: Millis }
    | { readonly state: "live" }
    | {
      readonly state: "resuming";
      /** The question that is out; undefined while waiting for `retryAt`. */
      readonly request: number | undefined;
      readonly retryAt: Millis;
      readonly retryMs: Millis;
    }
  );

/** Why the relay's message cannot be true. */
export type Violation = string;

/** The table of one agent's tunnels. `emit` takes what happens, in order. */
export class ClientTunnels {
  readonly #tunnels = new Map<string, Tunnel>();
  readonly #emit: (output: TunnelOutput) => void;
  #nextRequest = 1;
  /** Where our P2P socket is seen; goes with every question. */
  observed: readonly string[] = [];
  /** What may be sent now: nothing, only that a tunnel is over (the relay drains), or anything. */
  #link: "none" | "draining" | "open" = "none";

  constructor(emit: (output: TunnelOutput) => void) {
    this.#emit = emit;
  }

  /** How many there are, whatever their state. */
  get size(): number {
    return this.#tunnels.size;
  }

  /** A connection is there: ask for everything that is wanted. Also when early data was refused. */
  open(now: Millis): void {
    this.#link = "open";
    for (const tunnel of this.#tunnels.values()) {
      if (tunnel.state === "pending") this.#ask(tunnel);
      else this.#resume(tunnel, now, RESUME_RETRY_MS.first);
    }
  }

  /** The relay is about to stop: nothing new is asked of it. */
  drain(): void {
    this.#link = "draining";
  }

  /** The connection is gone. */
  lost(): void {
    this.#link = "none";
    for (const tunnel of this.#tunnels.values()) {
      const { tunnelId, service, connector } = tunnel;
      if (tunnel.state === "pending") {
        this.#tunnels.set(tunnelId, { ...tunnel, request: undefined });
      } else if (tunnel.state === "resuming") {
        this.#tunnels.set(tunnelId, { state: "live", tunnelId, service, connector });
      }
    }
  }

  /** The role wants a tunnel. */
  connect(
    wanted: { tunnelId: string; service: string; connector: string | null },
    now: Millis,
  ): void {
    const { tunnelId, service, connector } = wanted;
    if (this.#tunnels.has(tunnelId)) {
      return this.#emitRefused(wanted, "tunnel-clash", "as its id is in use here");
    }
    if (this.#tunnels.size >= MAX_TUNNELS_PER_AGENT) {
      const why = `as ${MAX_TUNNELS_PER_AGENT} tunnels are open, which is the most`;
      return this.#emitRefused(wanted, "too-many", why);
    }
    const until = now + CONNECT_TIMEOUT_MS;
    const request = undefined;
    const tunnel: Tunnel = { state: "pending", tunnelId, service, connector, request, until };
    this.#tunnels.set(tunnelId, tunnel);
    if (this.#link === "open") this.#ask(tunnel);
  }

  /** The role is done with a tunnel. */
  disconnect(tunnelId: string): void {
    const tunnel = this.#tunnels.get(tunnelId);
    if (!tunnel) return;
    this.#forget(tunnel);
  }

  /** @returns why the message is out of order, if it is */
  granted(grant: RelayMessageOf<"granted">): Violation | undefined {
    const tunnel = this.#tunnels.get(grant.tunnelId);
    if (!tunnel || tunnel.state === "live") {
      // Given up here while the answer was on its way: the relay need not keep it. (A live one answers twice only
      // where the question was asked twice, which is harmless.)
      if (!tunnel) this.#sendDisconnect(grant.tunnelId);
      return undefined;
    }
    if (tunnel.connector !== null && tunnel.connector !== grant.connector) {
      return `Cannot take tunnel "${tunnel.tunnelId}" as it leads to "${grant.connector}" and ` +
        `"${tunnel.connector}" was asked for`;
    }
    const { tunnelId, service } = tunnel;
    this.#tunnels.set(tunnelId, { state: "live", tunnelId, service, connector: grant.connector });
    this.#emit({ type: "granted", service, grant, resumed: tunnel.state === "resuming" });
    return undefined;
  }

  /** The relay says no. */
  refused({ request, reason, message }: RelayMessageOf<"refused">, now: Millis): void {
    const tunnel = this.#byRequest(request);
    if (!tunnel) return;
    if (tunnel.state === "pending") {
      if (reason === "draining") {
        // The next relay, or the next life of this one, may open it within the time-out.
        this.#tunnels.set(tunnel.tunnelId, { ...tunnel, request: undefined });
        return;
      }
      this.#tunnels.delete(tunnel.tunnelId);
      const { tunnelId, service } = tunnel;
      this.#emit({ type: "refused", tunnelId, service, reason, message });
    } else if (reason === "not-granted" || reason === "tunnel-clash") {
      this.#tunnels.delete(tunnel.tunnelId);
      this.#emit({ type: "disconnected", tunnelId: tunnel.tunnelId, reason, final: true });
    } else if (tunnel.state === "resuming") {
      this.#later(tunnel, now, tunnel.retryMs);
    }
  }

  /** The relay has forgotten a tunnel. */
  disconnected(
    { tunnelId, reason }: RelayMessageOf<"disconnected">,
    now: Millis,
  ): void {
    const tunnel = this.#tunnels.get(tunnelId);
    if (!tunnel || tunnel.state === "pending") return;
    const final = reason !== "offline";
    if (final) this.#tunnels.delete(tunnelId);
    else this.#later(tunnel, now, RESUME_RETRY_MS.first);
    this.#emit({ type: "disconnected", tunnelId, reason, final });
  }

  /** Does what is due. */
  tick(now: Millis): void {
    for (const tunnel of this.#tunnels.values()) {
      if (tunnel.state === "pending" && now >= tunnel.until) {
        this.#forget(tunnel);
        const seconds = CONNECT_TIMEOUT_MS / 1000;
        const why = `as the relay has not answered for ${seconds} s`;
        this.#emitRefused(tunnel, "timeout", why);
      } else if (
        tunnel.state === "resuming" && tunnel.request === undefined && now >= tunnel.retryAt &&
        this.#link === "open"
      ) {
        this.#resume(tunnel, now, Math.min(2 * tunnel.retryMs, RESUME_RETRY_MS.most));
      }
    }
  }

  /** When {@linkcode tick} has something to do. */
  deadline(): Millis | undefined {
    let first: Millis | undefined;
    for (const tunnel of this.#tunnels.values()) {
      let due: Millis | undefined;
      if (tunnel.state === "pending") due = tunnel.until;
      else if (
        tunnel.state === "resuming" && tunnel.request === undefined && this.#link === "open"
      ) {
        due = tunnel.retryAt;
      }
      if (due !== undefined && (first === undefined || due < first)) first = due;
    }
    return first;
  }

  #byRequest(request: number): Tunnel | undefined {
    for (const tunnel of this.#tunnels.values()) {
      if (tunnel.state !== "live" && tunnel.request === request) return tunnel;
    }
    return undefined;
  }

  #ask(tunnel: Tunnel): void {
    const request = this.#nextRequest++;
    const { tunnelId, service, connector } = tunnel;
    const resume = tunnel.state !== "pending";
    if (tunnel.state !== "live") this.#tunnels.set(tunnelId, { ...tunnel, request });
    this.#emit({
      type: "send",
      message: {
        type: "connect",
        request,
        service,
        tunnelId,
        connector,
        resume,
        observed: [...this.observed],
      },
    });
  }

  #resume({ tunnelId, service, connector }: Tunnel, now: Millis, retryMs: Millis): void {
    const state = "resuming";
    this.#ask({ state, tunnelId, service, connector, request: undefined, retryAt: now, retryMs });
  }

  #later({ tunnelId, service, connector }: Tunnel, now: Millis, retryMs: Millis): void {
    const retryAt = now + retryMs;
    const state = "resuming";
    const request = undefined;
    this.#tunnels.set(tunnelId, { state, tunnelId, service, connector, request, retryAt, retryMs });
  }

  #forget(tunnel: Tunnel): void {
    this.#tunnels.delete(tunnel.tunnelId);
    const unknown = tunnel.state === "pending" && tunnel.request === undefined;
    if (!unknown) this.#sendDisconnect(tunnel.tunnelId);
  }

  #sendDisconnect(tunnelId: string): void {
    if (this.#link !== "none") {
      this.#emit({ type: "send", message: { type: "disconnect", tunnelId } });
    }
  }

  #emitRefused(
    { tunnelId, service }: { tunnelId: string; service: string },
    reason: RefusedReason | "timeout",
    why: string,
  ): void {
    const message = `Cannot open tunnel for "${service}" ${why}`;
    this.#emit({ type: "refused", tunnelId, service, reason, message });
  }
}
