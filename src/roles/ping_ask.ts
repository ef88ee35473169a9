/**
 * `postern ping`: echoes through a tunnel, and the tunnel's moves between paths as they happen.
 * @module
 */
import { UserError } from "../core/mod.ts";
import type { Tunnel } from "../tunnel/mod.ts";
import type { PingAnswer, PingAsk } from "./asks.ts";
import { sleep } from "./waiting.ts";

type Moved = Extract<PingAnswer, { event: "path" }>;

/** Moves that wait to be told; a tunnel that moves more often than that between two echoes tells the latest. */
const MAX_WAITING = 64;

/** What pinging needs. */
export interface PingContext {
  /** The tunnel to a service, opened where need be. */
  readonly tunnelFor: (service: string) => Promise<Tunnel>;
  /** Where packets go on the tunnel's path: the other end, or the relay. */
  readonly remoteOf: (tunnel: Tunnel) => string | null;
  /** Why the tunnel is relayed, in words. */
  readonly whyRelayed: (tunnel: Tunnel) => string | null;
}

/** Answers one `ping`. Says where the tunnel is, then one line for each echo and each move. */
export async function* pingAsk(
  ask: PingAsk,
  signal: AbortSignal,
  context: PingContext,
): AsyncGenerator<PingAnswer> {
  const moves = new Moves(context);
  try {
    for (let seq = 1; (ask.count === 0 || seq <= ask.count) && !signal.aborted; seq++) {
      if (seq > 1) {
        yield* moves.until(sleep(ask.intervalMs, signal));
        if (signal.aborted) return;
      }
      let tunnel: Tunnel;
      try {
        tunnel = await context.tunnelFor(ask.service);
      } catch (error) {
        // The first one says what is wrong; later it is an outage, and the next echo may come back.
        if (seq === 1) throw error;
        yield { event: "lost", seq };
        continue;
      }
      moves.follow(tunnel);
      const echo = tunnel.ping(ask.timeoutMs);
      yield* moves.until(echo);
      const ms = await echo;
      const { path } = tunnel;
      const remote = context.remoteOf(tunnel);
      if (ms === undefined) yield { event: "lost", seq };
      else yield { event: "echo", seq, ms, path, remote };
    }
  } finally {
    moves.stop();
  }
}

/** Refuses where there are no tunnels to choose from. */
export function refusePing(kind: string, service: string): never {
  throw new UserError(`Cannot ping "${service}" from a ${kind}`, {
    next: "Ping from an agent that is granted the service",
  });
}

/** The moves of whichever tunnel is followed. */
class Moves {
  readonly #context: PingContext;
  readonly #waiting: Moved[] = [];
  #tunnel: Tunnel | undefined;
  #unfollow: (() => void) | undefined;
  #news = Promise.withResolvers<void>();

  constructor(context: PingContext) {
    this.#context = context;
  }

  /** Follows this tunnel from now on, and says where it is, unless it is followed already. */
  follow(tunnel: Tunnel): void {
    if (tunnel === this.#tunnel) return;
    this.stop();
    this.#tunnel = tunnel;
    this.#unfollow = tunnel.direct?.onChange((change) => this.#add({ event: "path", ...change }));
    const { path } = tunnel;
    this.#add({
      event: "path",
      path,
      remote: this.#context.remoteOf(tunnel),
      afterMs: path === "direct" ? tunnel.direct?.directAfterMs ?? null : null,
      reason: path === "direct" ? null : this.#context.whyRelayed(tunnel),
    });
  }

  stop(): void {
    this.#unfollow?.();
    this.#unfollow = this.#tunnel = undefined;
  }

  /** What happens until then. */
  async *until(over: Promise<unknown>): AsyncGenerator<Moved> {
    let isOver = false;
    const ended = over.finally(() => isOver = true).catch(() => {});
    for (;;) {
      for (let next = this.#waiting.shift(); next; next = this.#waiting.shift()) yield next;
      if (isOver) return;
      this.#news = Promise.withResolvers();
      await Promise.race([ended, this.#news.promise]);
    }
  }

  #add(moved: Moved): void {
    // Back on the relayed path, the other end is behind the relay.
    const remote = moved.remote ?? (this.#tunnel ? this.#context.remoteOf(this.#tunnel) : null);
    if (this.#waiting.length >= MAX_WAITING) this.#waiting.shift();
    this.#waiting.push({ ...moved, remote });
    this.#news.resolve();
  }
}
