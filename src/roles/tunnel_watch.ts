/**
 * Notices that a connector has gone without a word, where others offer the same: its tunnel is asked every 0.4 s. A tunnel that
 * has no alternative is left in peace, as its flows could go nowhere else.
 * @module
 */
import type { Tunnel } from "../tunnel/mod.ts";

/** Between questions, in milliseconds. */
const PERIOD = 400;
/** No answer for so long, in milliseconds, or for three round trips: silent. Together well below 2 s. */
const TIMEOUT = 800;

/** A granted tunnel that is not open after this, in milliseconds, has nobody at its other end. */
export const OPEN_TIMEOUT = 1_500;

/** See the module's head. */
export class TunnelWatch {
  /** Names of the other connectors, by tunnel. */
  readonly #alternatives = new Map<Tunnel, readonly string[]>();
  readonly #silent = new Set<Tunnel>();
  readonly #onSilent: (tunnel: Tunnel) => void;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** @param onSilent called once each time a tunnel falls silent */
  constructor(onSilent: (tunnel: Tunnel) => void) {
    this.#onSilent = onSilent;
  }

  /** Who else could serve, as the relay said. */
  set(tunnel: Tunnel, alternatives: readonly string[]): void {
    if (alternatives.length === 0 || tunnel.closed) return this.forget(tunnel);
    this.#alternatives.set(tunnel, alternatives);
    this.#timer ??= setInterval(() => this.#askAll(), PERIOD);
  }

  /** The tunnel is over. */
  forget(tunnel: Tunnel): void {
    this.#silent.delete(tunnel);
    if (!this.#alternatives.delete(tunnel) || this.#alternatives.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Does it not answer just now? */
  isSilent(tunnel: Tunnel): boolean {
    return this.#silent.has(tunnel);
  }

  /** Another connector than this tunnel's; `undefined` where none is known. */
  alternativeTo(tunnel: Tunnel): string | undefined {
    return this.#alternatives.get(tunnel)?.[0];
  }

  #askAll(): void {
    for (const tunnel of this.#alternatives.keys()) {
      if (tunnel.isOpen) void this.#ask(tunnel);
    }
  }

  async #ask(tunnel: Tunnel): Promise<void> {
    const rtt = await tunnel.ping(Math.max(TIMEOUT, 3 * (tunnel.connection.rttMs() ?? 0)));
    if (!this.#alternatives.has(tunnel)) return;
    if (rtt !== undefined) {
      this.#silent.delete(tunnel);
    } else if (!this.#silent.has(tunnel)) {
      this.#silent.add(tunnel);
      this.#onSilent(tunnel);
    }
  }
}
