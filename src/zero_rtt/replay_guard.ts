/**
 * Takes each early message at most once (RFC 8446 §8, RFC 9001 §9.2).
 *
 * The engine accepts a captured first flight as often as it is sent, from any address. So each early message carries a
 * nonce and its issue time on the receiver's clock, both sealed by the connection they travel on, and this guard says
 * whether it may be acted on before the handshake ends:
 *
 * ```
 *            refuseUpTo        now - maxPast             now      now + maxFuture
 *  ---------------|------------------|--------------------|-------------|------------> issue time
 *   before-start                stale|  accept the first, then seen     | stale
 * ```
 *
 * Why at most once holds: a message issued at `i` is fresh while the clock shows `i - maxFuture` to `i + maxPast`. Its
 * nonce is remembered for `maxFuture + maxPast` after it was accepted, which is past the end of that. Nothing is ever
 * forgotten to make room: when there is none, the answer is `full`. What an earlier process accepted was issued by
 * `refuseUpTo` (see `receiver_clock.ts`).
 *
 * Refused costs no state. A refused message is not lost: it is acted on once the handshake has ended, as that proves
 * that a live peer sent it.
 *
 * Memory: at most `maxIdentities` + `maxEntries` nonces whatever arrives. An identity (whose ticket proves it) that
 * floods fills its own share and nobody else's; even when all together fill the whole, each identity's first is taken.
 * @module
 */
import type { UnixMillis } from "../core/mod.ts";
import {
  DEFAULT_MAX_ENTRIES,
  DEFAULT_MAX_FUTURE_MS,
  DEFAULT_MAX_IDENTITIES,
  DEFAULT_MAX_PAST_MS,
  DEFAULT_MAX_PER_IDENTITY,
} from "./limits.ts";

/** What the guard can say, in the order in which it looks. */
export const REPLAY_VERDICTS = ["before-start", "stale", "seen", "full", "accept"] as const;

/** `accept`: act on it now. Anything else: after the handshake. */
export type ReplayVerdict = typeof REPLAY_VERDICTS[number];

/** What identifies one early message. */
export interface EarlyStamp {
  /** Who sent it, as the certificate of the resumed session says: kind and name, `agent:alice`. */
  readonly identity: string;
  /** Random, 16 bytes. */
  readonly nonce: Uint8Array;
  /** On the receiver's clock, in milliseconds; null where the client does not know that clock. */
  readonly issuedAt: UnixMillis | null;
}

/** Bounds of a guard; the defaults stand, with their reasons, in `limits.ts`. */
export interface ReplayGuardOptions {
  /** Nothing issued up to then is taken ({@linkcode ReceiverStart}). */
  readonly refuseUpTo: UnixMillis;
  /** @default 10 s */
  readonly maxPastMs?: number;
  /** @default 1 s */
  readonly maxFutureMs?: number;
  /** @default 64 */
  readonly maxPerIdentity?: number;
  /** @default 16384 */
  readonly maxIdentities?: number;
  /** @default 65536 */
  readonly maxEntries?: number;
}

/** One remembered nonce; they form a queue, as all are remembered for the same time. */
interface Entry {
  readonly identity: string;
  readonly key: string;
  /** Remembered as long as the clock shows no more than this. */
  readonly until: UnixMillis;
  next: Entry | undefined;
}

/** Decides which early messages may be acted on before the handshake ends. */
export class ReplayGuard {
  readonly #refuseUpTo: UnixMillis;
  readonly #maxPast: number;
  readonly #maxFuture: number;
  readonly #maxPerIdentity: number;
  readonly #maxIdentities: number;
  readonly #maxEntries: number;
  readonly #seen = new Set<string>();
  /** How many of them each identity has; no zeros. */
  readonly #perIdentity = new Map<string, number>();
  #oldest: Entry | undefined;
  #newest: Entry | undefined;
  #now: UnixMillis = 0;
  #latestAccepted: UnixMillis = 0;
  readonly #counts: Record<ReplayVerdict, number> = {
    "before-start": 0,
    stale: 0,
    seen: 0,
    full: 0,
    accept: 0,
  };

  constructor(options: ReplayGuardOptions) {
    this.#refuseUpTo = options.refuseUpTo;
    this.#maxPast = options.maxPastMs ?? DEFAULT_MAX_PAST_MS;
    this.#maxFuture = options.maxFutureMs ?? DEFAULT_MAX_FUTURE_MS;
    this.#maxPerIdentity = options.maxPerIdentity ?? DEFAULT_MAX_PER_IDENTITY;
    this.#maxIdentities = options.maxIdentities ?? DEFAULT_MAX_IDENTITIES;
    this.#maxEntries = options.maxEntries ?? DEFAULT_MAX_ENTRIES;
  }

  /** Nonces remembered now: never more than `maxIdentities` + `maxEntries`. */
  get entries(): number {
    return this.#seen.size;
  }

  /** Identities with a remembered nonce: never more than `maxIdentities`. */
  get identities(): number {
    return this.#perIdentity.size;
  }

  /** The latest issue time accepted, or 0: goes into the mark that a clean stop leaves. */
  get latestAccepted(): UnixMillis {
    return this.#latestAccepted;
  }

  /** How often each verdict was given. */
  get counts(): Readonly<Record<ReplayVerdict, number>> {
    return this.#counts;
  }

  /** Judges one early message that arrived at `now` on the receiver's clock, and remembers it if accepted. */
  check(stamp: EarlyStamp, now: UnixMillis): ReplayVerdict {
    const verdict = this.#judge(stamp, now);
    this.#counts[verdict]++;
    return verdict;
  }

  #judge({ identity, nonce, issuedAt }: EarlyStamp, now: UnixMillis): ReplayVerdict {
    if (now > this.#now) this.#now = now;
    this.#forget();
    if (issuedAt === null) return "stale";
    if (issuedAt <= this.#refuseUpTo) return "before-start";
    // Written so that NaN is stale.
    const fresh = issuedAt >= this.#now - this.#maxPast && issuedAt <= this.#now + this.#maxFuture;
    if (!fresh) return "stale";
    const key = `${identity} ${String.fromCharCode(...nonce)}`;
    if (this.#seen.has(key)) return "seen";
    const count = this.#perIdentity.get(identity) ?? 0;
    if (!this.#hasRoomAfter(count)) return "full";
    this.#perIdentity.set(identity, count + 1);
    this.#remember(identity, key);
    if (issuedAt > this.#latestAccepted) this.#latestAccepted = issuedAt;
    return "accept";
  }

  #hasRoomAfter(count: number): boolean {
    if (count === 0) return this.#perIdentity.size < this.#maxIdentities;
    return count < this.#maxPerIdentity &&
      this.#seen.size - this.#perIdentity.size < this.#maxEntries;
  }

  #remember(identity: string, key: string): void {
    const until = this.#now + this.#maxPast + this.#maxFuture;
    const entry: Entry = { identity, key, until, next: undefined };
    this.#seen.add(key);
    if (this.#newest) this.#newest.next = entry;
    else this.#oldest = entry;
    this.#newest = entry;
  }

  /** Drops what can no longer be fresh. */
  #forget(): void {
    while (this.#oldest && this.#oldest.until < this.#now) {
      const { identity, key, next } = this.#oldest;
      this.#seen.delete(key);
      const count = this.#perIdentity.get(identity)! - 1;
      if (count > 0) this.#perIdentity.set(identity, count);
      else this.#perIdentity.delete(identity);
      this.#oldest = next;
      if (!next) this.#newest = undefined;
    }
  }
}
