/**
 * The receiver's side of early data: judges each early message once, on a clock that nobody can set back.
 * @module
 */
import { type Clock, fromBase64Url, type Logger, messageOf } from "../core/mod.ts";
import type { StateFolder } from "../identity/mod.ts";
import {
  decideReceive,
  MARK_EVERY_MS,
  parseMark,
  type ReceiveDecision,
  ReceiverClock,
  receiverStart,
  ReplayGuard,
  serializeMark,
} from "../zero_rtt/mod.ts";
import type { EarlyCounts } from "./status.ts";

const MARK_FILE = "early.mark";

/** See the module's head. */
export class EarlyGate {
  readonly enabled: boolean;
  readonly #clock: Clock;
  readonly #time: ReceiverClock;
  readonly #guard: ReplayGuard;
  readonly #folder: StateFolder | undefined;
  readonly #log: Logger;
  /** Early messages that were not put before the guard. */
  #notWanted = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  private constructor(parts: {
    enabled: boolean;
    clock: Clock;
    log: Logger;
    time: ReceiverClock;
    guard: ReplayGuard;
    folder: StateFolder | undefined;
  }) {
    this.enabled = parts.enabled;
    this.#clock = parts.clock;
    this.#time = parts.time;
    this.#guard = parts.guard;
    this.#folder = parts.folder;
    this.#log = parts.log;
    if (this.#folder) this.#timer = setInterval(() => void this.#mark(false), MARK_EVERY_MS);
  }

  /**
   * Opens the gate. With `folder` (a receiver whose ticket key outlives its process) it goes by the mark of the process
   * before, and leaves its own.
   */
  static async open(
    options: { enabled: boolean; clock: Clock; log: Logger; folder?: StateFolder },
  ): Promise<EarlyGate> {
    const { clock, folder, log } = options;
    let mark;
    try {
      const text = await folder?.readText(MARK_FILE);
      const parsed = text === undefined ? undefined : parseMark(text);
      if (parsed && "ok" in parsed) mark = parsed.ok;
      // Read once: whoever comes after a crash must not take it for the last word.
      await folder?.remove(MARK_FILE);
    } catch (error) {
      log.warn("cannot read when early data was last taken", { reason: messageOf(error) });
    }
    const start = receiverStart(clock.unix(), mark ? { mark } : {});
    return new EarlyGate({
      enabled: options.enabled,
      clock,
      log,
      folder,
      time: new ReceiverClock(start.startedAt, clock.now()),
      guard: new ReplayGuard({ refuseUpTo: start.refuseUpTo }),
    });
  }

  /** The time to tell clients, and to judge them by. */
  now(): number {
    return this.#time.at(this.#clock.now());
  }

  /** This machine has slept, and its monotonic clock stood still for so long meanwhile, in milliseconds. */
  stoodStill(ms: number): void {
    this.#time.stoodStill(ms);
  }

  /** What to do with what an early message asks for. `identity` was checked already. */
  judge(message: { identity: string; nonce: string; issuedAt: number | null }): ReceiveDecision {
    const nonce = fromBase64Url(message.nonce);
    const replay = this.enabled && nonce
      ? this.#guard.check(
        { identity: message.identity, nonce, issuedAt: message.issuedAt },
        this.now(),
      )
      : undefined;
    if (replay === undefined) this.#notWanted++;
    return decideReceive({
      early: true,
      enabled: this.enabled,
      identity: "good",
      replay,
      service: "none",
    });
  }

  /** For status. */
  get counts(): EarlyCounts {
    const { accept, seen, stale, full, "before-start": beforeStart } = this.#guard.counts;
    return { accepted: accept, seen, stale, beforeStart, full, notWanted: this.#notWanted };
  }

  /** Nothing more will be accepted. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    if (this.#folder) await this.#mark(true);
  }

  async #mark(clean: boolean): Promise<void> {
    try {
      const latest = this.#guard.latestAccepted;
      await this.#folder?.write(MARK_FILE, serializeMark({ clock: this.now(), latest, clean }));
    } catch (error) {
      this.#log.warn("cannot note when early data was last taken", { reason: messageOf(error) });
    }
  }
}
