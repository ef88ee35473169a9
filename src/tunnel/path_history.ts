/**
 * Which paths a tunnel has been on: told to the log, to who listens, and to the status.
 * @module
 */
import type { Address, Logger } from "../core/mod.ts";
import type { PathChange } from "./direct_part.ts";

/** What is told of. */
interface HistoryOf {
  readonly peer: string;
  /** When the tunnel was asked for. */
  readonly startedAt: number;
}

/** See the module's head. */
export class PathHistory {
  /** From asking for the tunnel until the first direct path was in use, in milliseconds. */
  directAfterMs: number | undefined;
  changes = 0;
  readonly #tunnel: HistoryOf;
  readonly #log: Logger;
  readonly #listeners = new Set<(change: PathChange) => void>();
  #lastMoveAt: number;

  constructor(tunnel: HistoryOf, log: Logger) {
    this.#tunnel = tunnel;
    this.#log = log;
    this.#lastMoveAt = tunnel.startedAt;
  }

  /** Tells when the tunnel moves to another path. Answers how to stop listening. */
  onChange(listener: (change: PathChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The tunnel runs on this direct path now, or (`undefined`) over the relay. */
  moved(remote: Address | undefined, reason: string): void {
    this.changes++;
    const now = performance.now();
    const afterMs = now - this.#tunnel.startedAt;
    if (remote) this.directAfterMs ??= afterMs;
    const path = remote ? "direct" : "relayed";
    this.#log.info("path changed", {
      peer: this.#tunnel.peer,
      path,
      remote: remote?.key,
      reason,
      onLastForMs: Math.round(now - this.#lastMoveAt),
    });
    this.#lastMoveAt = now;
    const change: PathChange = { path, remote: remote?.key ?? null, reason, afterMs };
    for (const listener of this.#listeners) listener(change);
  }

  /** Nobody is told any more. */
  stop(): void {
    this.#listeners.clear();
  }
}
