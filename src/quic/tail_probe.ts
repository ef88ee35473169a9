/**
 * Lets the loss of the last packet of a conversation be found out soon. A lost packet is noticed by acknowledgements of later ones
 * (RFC 9002 §6.1); behind the last there are none, and the engine waits for its probe timeout, of several round trips. So behind
 * little data that nothing follows goes a PING of 30 bytes, an eighth of a round trip later: when it is acknowledged and the data is
 * not, that has taken nine eighths of a round trip, which is proof (§6.1.2). Where the engine takes the round trip for far longer than
 * it is, three go: that many acknowledged are proof without a clock (§6.1.1).
 *
 * ```
 * idle --little was written--> waiting --an eighth of a round trip--> PING --enough, or more data, or all is acknowledged--> idle
 * ```
 *
 * One timer for a connection: at most one PING in {@linkcode MIN_DELAY}.
 * @module
 */

/** What a tail probe needs of its connection. */
export interface TailProbeOptions {
  /** Round trip of the path in use, in milliseconds; `undefined`: not known. */
  readonly rtt: () => number | undefined;
  /** What the engine takes it for. */
  readonly believedRtt: () => number | undefined;
  /** Is anything under way that must be acknowledged? */
  readonly isFlying: () => boolean;
  /** Sends something that must be acknowledged, if nothing else does. */
  readonly probe: () => void;
}

/** Later packets that prove a loss, whatever the time (RFC 9002 §6.1.1, kPacketThreshold). */
const PACKET_THRESHOLD = 3;

/** An engine that believes in a round trip so many times longer than it is does not find a loss by its time. */
const FAR_TOO_LONG = 1.5;

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
  #delay = MIN_DELAY;
  /** Packets with data since the last write: the write's own, and what follows it. */
  #followers = 0;

  constructor(options: TailProbeOptions) {
    this.#options = options;
  }

  /** A stream that sends little has written, or any stream its end. */
  wrote(): void {
    this.#followers = 0;
    // One timer for all that is written meanwhile.
    if (this.#timer !== undefined) {
      this.#left = Math.max(1, this.#left);
      return;
    }
    const rtt = this.#options.rtt();
    if (rtt === undefined || rtt < MIN_RTT) return;
    const believed = this.#options.believedRtt() ?? rtt;
    this.#left = believed > FAR_TOO_LONG * rtt ? PACKET_THRESHOLD : 1;
    this.#delay = Math.min(MAX_DELAY, Math.max(MIN_DELAY, rtt / 8));
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
    this.#timer = undefined;
  }

  #arm(): void {
    this.#timer = setTimeout(() => this.#expire(), this.#delay);
  }

  #expire(): void {
    this.#timer = undefined;
    if (this.#left === 0) return;
    if (this.#followers > PACKET_THRESHOLD || !this.#options.isFlying()) {
      this.#left = 0;
      return;
    }
    this.#left--;
    this.#options.probe();
    if (this.#left > 0) this.#arm();
  }
}
