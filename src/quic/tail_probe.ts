/**
 * Lets the loss of the last packet of a conversation be found out soon. A lost packet is noticed by acknowledgements of later ones
 * (RFC 9002 §6.1); behind the last there are none, and the engine waits for its probe timeout, of several round trips. So behind
 * little data that nothing follows go a few PINGs of 30 bytes, an eighth of a round trip apart: the third that is acknowledged
 * without the data is proof enough (§6.1.1), however wrong the engine may be about the round trip.
 *
 * ```
 * idle --little was written--> waiting --an eighth of a round trip--> PING --three, or enough followed, or all is acknowledged--> idle
 * ```
 *
 * One timer for a connection: at most one PING in {@linkcode MIN_DELAY}.
 * @module
 */

/** What a tail probe needs of its connection. */
export interface TailProbeOptions {
  /** Round trip of the path in use, in milliseconds; `undefined`: not known. */
  readonly rtt: () => number | undefined;
  /** Is anything under way that must be acknowledged? */
  readonly isFlying: () => boolean;
  /** Sends something that must be acknowledged, if nothing else does. */
  readonly probe: () => void;
}

/** PINGs behind the last data: as many later packets as prove a loss (RFC 9002 §6.1.1, kPacketThreshold). */
const PROBES = 3;

/** Milliseconds from one to the next: an eighth of a round trip, within what timers can do and what still helps. */
const MIN_DELAY = 2;
const MAX_DELAY = 25;

/** On shorter round trips, in milliseconds, the probe timeout is soon enough. */
const MIN_RTT = 4;

/** A packet of more bytes than this carries data, and is no mere acknowledgement. */
const DATA_PACKET = 64;

/** See the module's head. */
export class TailProbe {
  readonly #options: TailProbeOptions;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #left = 0;
  /** Packets with data since the last write: the write's own, and what follows it. */
  #followers = 0;

  constructor(options: TailProbeOptions) {
    this.#options = options;
  }

  /** A stream that sends little has written, or any stream its end. */
  wrote(): void {
    this.#left = PROBES;
    this.#followers = 0;
    this.#arm();
  }

  /** A packet of so many bytes has left. */
  sent(bytes: number): void {
    if (this.#left > 0 && bytes > DATA_PACKET) this.#followers++;
  }

  /** No more of it. */
  stop(): void {
    this.#left = 0;
    clearTimeout(this.#timer);
  }

  #arm(): void {
    if (this.#timer !== undefined) return;
    const rtt = this.#options.rtt();
    if (rtt === undefined || rtt < MIN_RTT) {
      this.#left = 0;
      return;
    }
    const delay = Math.min(MAX_DELAY, Math.max(MIN_DELAY, rtt / 8));
    this.#timer = setTimeout(() => this.#expire(), delay);
  }

  #expire(): void {
    this.#timer = undefined;
    if (this.#left === 0) return;
    if (this.#followers > PROBES || !this.#options.isFlying()) {
      this.#left = 0;
      return;
    }
    this.#left--;
    this.#options.probe();
    if (this.#left > 0) this.#arm();
  }
}
