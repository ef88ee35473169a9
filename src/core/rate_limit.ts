/**
 * How often one address may ask: a token bucket for each, in a bounded table. Pure: time comes in.
 * @module
 */
import ipaddr from "ipaddr.js";
import type { Millis } from "./clock.ts";

/** How much, how fast, and for how many. */
export interface RateLimitOptions {
  /** Requests at once. */
  readonly burst: number;
  /** Requests a second after that. */
  readonly perSecond: number;
  /** Addresses remembered; beyond that, who was quiet the longest is forgotten. */
  readonly maxEntries: number;
}

interface Bucket {
  tokens: number;
  at: Millis;
}

/** Counts requests by {@linkcode prefixOf}. */
export class RateLimit {
  #options: RateLimitOptions;
  #buckets = new Map<string, Bucket>();

  constructor(options: RateLimitOptions) {
    this.#options = options;
  }

  /** How many addresses are remembered. */
  get size(): number {
    return this.#buckets.size;
  }

  /** May this address ask now? If so, it has. */
  take(host: string, now: Millis): boolean {
    const { burst, perSecond, maxEntries } = this.#options;
    const key = prefixOf(host);
    const bucket = this.#buckets.get(key) ?? { tokens: burst, at: now };
    bucket.tokens = Math.min(
      burst,
      bucket.tokens + Math.max(0, now - bucket.at) / 1000 * perSecond,
    );
    bucket.at = now;
    // Put in again at the end: a Map keeps its order, so the first one is who was quiet the longest.
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    if (this.#buckets.size > maxEntries) {
      for (const first of this.#buckets.keys()) {
        this.#buckets.delete(first);
        break;
      }
    }
    if (bucket.tokens < 1) return false;
    bucket.tokens--;
    return true;
  }

  /** What this address asked for was worth it: it does not count. */
  giveBack(host: string): void {
    const bucket = this.#buckets.get(prefixOf(host));
    if (bucket) bucket.tokens = Math.min(this.#options.burst, bucket.tokens + 1);
  }
}

/**
 * Whose an address is, as far as one can tell: IPv4 addresses one by one, IPv6 by their first 56 bits, as that much is what a home
 * or a rented machine commonly gets (RIPE-690), and may use as it likes. Total.
 */
export function prefixOf(host: string): string {
  if (!host.includes(":") || !ipaddr.IPv6.isValid(host)) return host;
  const address = ipaddr.IPv6.parse(host);
  if (address.isIPv4MappedAddress()) return address.toIPv4Address().toString();
  const [a, b, c, d] = address.parts as [number, number, number, number];
  return `${[a, b, c, d & 0xff00].map((part) => part.toString(16)).join(":")}::/56`;
}
