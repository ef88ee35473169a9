/**
 * Watches a tunnel's own traffic: notes of it go to the path machines, and a tunnel that falls silent in its midst is asked
 * for a sign of life.
 * @module
 */
import { type Clock, Driver } from "../core/mod.ts";
import { Pulse, type PulseInput, type PulseOutput } from "./pulse.ts";
import type { Tunnel } from "./tunnel.ts";

/** Between notes, in milliseconds: a fraction of the silence that the path machines find odd. */
const NOTE_INTERVAL = 10;

/** What a watch needs. */
export interface TrafficWatchOptions {
  readonly tunnel: Tunnel;
  readonly clock: Clock;
  /** The tunnel has sent since the last note; `received`: and something came. */
  readonly note: (received: boolean) => void;
  /** Nothing comes. */
  readonly silent: () => void;
}

/** See the module's head. */
export class TrafficWatch {
  readonly #options: TrafficWatchOptions;
  readonly #pulse: Driver<PulseInput, PulseOutput>;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #packetsSeen = 0;

  constructor(options: TrafficWatchOptions) {
    this.#options = options;
    this.#pulse = new Driver<PulseInput, PulseOutput>(new Pulse(), {
      clock: options.clock,
      tick: { type: "time" },
      output: (output) => this.#output(output),
    });
    // Once in a while is enough, and an idle tunnel costs no timer.
    options.tunnel.egress.onTransmit = () => {
      this.#timer ??= setTimeout(() => this.#note(), NOTE_INTERVAL);
    };
  }

  stop(): void {
    this.#pulse.stop();
    clearTimeout(this.#timer);
  }

  #note(): void {
    this.#timer = undefined;
    const { packetsIn } = this.#options.tunnel.connection;
    const received = packetsIn !== this.#packetsSeen;
    this.#packetsSeen = packetsIn;
    this.#options.note(received);
    this.#pulse.tell({ type: "sent" });
  }

  #output(output: PulseOutput): void {
    const { tunnel, silent } = this.#options;
    if (output.type === "ask") return silent();
    const bytes = tunnel.mux.bytesIn + tunnel.mux.bytesOut;
    this.#pulse.tell({ type: "seen", packets: tunnel.connection.packetsIn, bytes });
  }
}
