/**
 * When and where to connect to the relay.
 *
 * ```
 *            start, wake          addresses             connected
 *  stopped -------------> resolving -------> racing --------------> connected
 *                            ^                 | all failed             |
 *                            |  wake, time     v                        | lost
 *                            +------------- waiting <-------------------+
 * ```
 *
 * - Attempts start 250 ms apart, IPv4 and IPv6 taking turns, until one wins (Happy Eyeballs, RFC 8305); one that
 *   fails lets the next start at once. Only a round's first attempt may be `early`: of two early hellos the relay
 *   would act on both.
 * - After a failed round it waits a random time between 0 and a ceiling that doubles from 250 ms to 30 s ("full
 *   jitter"): clients that lost the same relay at the same instant come back spread out. The ceiling starts anew
 *   after a connection that held for 10 s, not after one that flapped.
 * - A change of the network ends any wait at once.
 * @module
 */
import type { Address, Machine, Millis, Random } from "../core/mod.ts";
import { orderAddresses } from "./address_order.ts";

/** Between the starts of two attempts of a round (RFC 8305 §5, "Connection Attempt Delay"). */
export const ATTEMPT_DELAY_MS = 250;

/** Ceiling of the first wait. */
export const FIRST_BACKOFF_MS = 250;

/** Ceiling of every wait: a relay that was down for a night is found again within half a minute. */
export const MAX_BACKOFF_MS = 30_000;

/** A connection that held this long was a success: the next wait's ceiling is the first again. */
export const STABLE_MS = 10_000;

/**
 * The first round gives an attempt 3 s (a handshake and one lost packet at 1 s RTT), each further one half as
 * much again up to 10 s: short, so that a relay that restarts is asked anew soon; growing, so that a slow path gets its time.
 */
export const ATTEMPT_TIMEOUT_MS = { first: 3_000, most: 10_000 } as const;

/** How long names may take to resolve; then the next round will ask again. */
export const RESOLVE_TIMEOUT_MS = 3_000;

/**
 * The same where addresses are known from last time: then these are used, as they are most probably right. Whoever comes into
 * another network asks the old one's name server in vain.
 */
export const RESOLVE_AGAIN_TIMEOUT_MS = 400;

/** A round younger than this is not started anew by a change of the network (interfaces change in bursts). */
export const WAKE_HOLDOFF_MS = 250;

/** What happens. */
export type ReconnectInput =
  | { readonly type: "start" }
  /** Answers `resolve`; none: the names did not resolve. */
  | { readonly type: "addresses"; readonly addresses: readonly Address[] }
  /** This attempt's handshake is done. */
  | { readonly type: "connected"; readonly attempt: number }
  | { readonly type: "failed"; readonly attempt: number; readonly reason: string }
  /** The connection that this attempt made is gone. `minDelayMs`: patience is wanted (the relay was told to close us). */
  | {
    readonly type: "lost";
    readonly attempt: number;
    readonly reason: string;
    readonly minDelayMs?: Millis;
  }
  /** The network has changed: what failed before may work now. `anew`: other addresses than before can be reached. */
  | { readonly type: "wake"; readonly anew?: boolean }
  | { readonly type: "stop" }
  | { readonly type: "tick" };

/** What to do. */
export type ReconnectOutput =
  /** Look up the relay's names and answer with `addresses`. */
  | { readonly type: "resolve" }
  /** Connect. Answer with `connected` or `failed`. `early`: may carry early data. */
  | {
    readonly type: "attempt";
    readonly attempt: number;
    readonly address: Address;
    readonly early: boolean;
  }
  /** Give this attempt up: another won, or it took too long. No answer is wanted. */
  | { readonly type: "abandon"; readonly attempt: number }
  /** Nothing works just now; the next round starts in `retryInMs`. */
  | {
    readonly type: "waiting";
    readonly retryInMs: Millis;
    readonly failures: number;
    readonly reason: string;
  };

interface LiveAttempt {
  readonly address: Address;
  readonly until: Millis;
}

type State =
  | { readonly name: "stopped" }
  | { readonly name: "resolving"; readonly since: Millis }
  | {
    readonly name: "racing";
    readonly since: Millis;
    readonly queue: Address[];
    readonly live: Map<number, LiveAttempt>;
    nextAt: Millis;
  }
  | { readonly name: "connected"; readonly attempt: number; readonly since: Millis }
  | { readonly name: "waiting"; readonly until: Millis };

/** The names of a reconnect machine's states. */
export type ReconnectStateName = State["name"];

/** See the module's head. Holds {@linkcode "./address_order.ts".MAX_ADDRESSES} addresses and attempts at most. */
export class Reconnect implements Machine<ReconnectInput, ReconnectOutput> {
  readonly #random: Random;
  #state: State = { name: "stopped" };
  #outputs: ReconnectOutput[] = [];
  #attempts = 0;
  /** Rounds (and short-lived connections) in a row that came to nothing. */
  #failures = 0;
  #known: readonly Address[] = [];
  #lastGood: Address | undefined;
  #reason = "it has not been tried";

  constructor(random: Random) {
    this.#random = random;
  }

  /** Where it stands. */
  get state(): ReconnectStateName {
    return this.#state.name;
  }

  handle(input: ReconnectInput, now: Millis): void {
    const state = this.#state;
    switch (input.type) {
      case "start":
        if (state.name === "stopped") this.#resolve(now);
        return;
      case "addresses":
        if (state.name === "resolving") this.#race(input.addresses, now);
        return;
      case "connected":
        if (state.name === "racing") return this.#connected(state, input.attempt, now);
        // Too late: another won, or the round is over.
        if (state.name !== "connected" || state.attempt !== input.attempt) {
          this.#outputs.push({ type: "abandon", attempt: input.attempt });
        }
        return;
      case "failed":
        if (state.name === "racing" && state.live.delete(input.attempt)) {
          this.#reason = input.reason;
          state.nextAt = now;
          this.#advance(state, now);
        } else if (state.name === "connected" && state.attempt === input.attempt) {
          // Its handshake was done, and then it was of no use.
          this.#lost(state.since, input.reason, now);
        }
        return;
      case "lost":
        if (state.name !== "connected" || state.attempt !== input.attempt) return;
        return this.#lost(state.since, input.reason, now, input.minDelayMs);
      case "wake":
        if (state.name === "waiting") this.#resolve(now);
        else if (
          state.name === "racing" && (input.anew || now - state.since >= WAKE_HOLDOFF_MS)
        ) {
          this.#abandonAll(state);
          this.#resolve(now);
        }
        return;
      case "stop":
        if (state.name === "racing") this.#abandonAll(state);
        this.#state = { name: "stopped" };
        return;
      case "tick":
        return this.#tick(now);
    }
  }

  poll(): ReconnectOutput | undefined {
    return this.#outputs.shift();
  }

  deadline(): Millis | undefined {
    const state = this.#state;
    switch (state.name) {
      case "resolving":
        return state.since + this.#resolveTimeout;
      case "waiting":
        return state.until;
      case "racing": {
        let first = state.queue.length > 0 ? state.nextAt : Infinity;
        for (const { until } of state.live.values()) first = Math.min(first, until);
        return first;
      }
      default:
        return undefined;
    }
  }

  #tick(now: Millis): void {
    const state = this.#state;
    if (state.name === "waiting" && now >= state.until) this.#resolve(now);
    else if (state.name === "resolving" && now >= state.since + this.#resolveTimeout) {
      this.#race([], now);
    } else if (state.name === "racing") {
      for (const [attempt, { until, address }] of state.live) {
        if (now < until) continue;
        state.live.delete(attempt);
        this.#reason = `${address.key} has not answered`;
        this.#outputs.push({ type: "abandon", attempt });
      }
      this.#advance(state, now);
    }
  }

  get #resolveTimeout(): Millis {
    return this.#known.length > 0 ? RESOLVE_AGAIN_TIMEOUT_MS : RESOLVE_TIMEOUT_MS;
  }

  #resolve(now: Millis): void {
    this.#state = { name: "resolving", since: now };
    this.#outputs.push({ type: "resolve" });
  }

  #race(addresses: readonly Address[], now: Millis): void {
    // Names that do not resolve just now led to these before.
    const usable = addresses.length > 0 ? addresses : this.#known;
    const queue = orderAddresses(usable, this.#lastGood);
    this.#known = [...queue];
    if (queue.length === 0) {
      this.#reason = "its name does not resolve";
      this.#failures++;
      return this.#wait(now, 0);
    }
    const state: State = { name: "racing", since: now, queue, live: new Map(), nextAt: now };
    this.#state = state;
    this.#advance(state, now, true);
  }

  /** Starts the attempts that are due; ends the round when nothing is left to hope for. */
  #advance(state: State & { name: "racing" }, now: Millis, early = false): void {
    if (state.queue.length > 0 && now >= state.nextAt) {
      const address = state.queue.shift()!;
      const attempt = ++this.#attempts;
      const until = now + Math.min(
        ATTEMPT_TIMEOUT_MS.most,
        ATTEMPT_TIMEOUT_MS.first * 1.5 ** this.#failures,
      );
      state.live.set(attempt, { address, until });
      state.nextAt = now + ATTEMPT_DELAY_MS;
      this.#outputs.push({ type: "attempt", attempt, address, early });
    } else if (state.queue.length === 0 && state.live.size === 0) {
      this.#failures++;
      this.#wait(now, 0);
    }
  }

  #connected(state: State & { name: "racing" }, attempt: number, now: Millis): void {
    const won = state.live.get(attempt);
    if (!won) {
      this.#outputs.push({ type: "abandon", attempt });
      return;
    }
    state.live.delete(attempt);
    this.#abandonAll(state);
    this.#lastGood = won.address;
    // Until it has held for a while it counts as one more failure: a relay that drops us at once is not asked at once.
    this.#failures++;
    this.#state = { name: "connected", attempt, since: now };
  }

  #abandonAll(state: State & { name: "racing" }): void {
    for (const attempt of state.live.keys()) this.#outputs.push({ type: "abandon", attempt });
  }

  #lost(since: Millis, reason: string, now: Millis, minDelayMs = 0): void {
    this.#reason = reason;
    if (now - since >= STABLE_MS) this.#failures = 0;
    this.#wait(now, minDelayMs);
  }

  #wait(now: Millis, minDelayMs: Millis): void {
    // 2^20 is far beyond the cap: the exponent need not grow for ever.
    const exponent = Math.min(20, Math.max(0, this.#failures - 1));
    const ceiling = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** exponent);
    const retryInMs = minDelayMs + this.#random() * ceiling;
    this.#state = { name: "waiting", until: now + retryInMs };
    this.#outputs.push({
      type: "waiting",
      retryInMs,
      failures: this.#failures,
      reason: this.#reason,
    });
  }
}
