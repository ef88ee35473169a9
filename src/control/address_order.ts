/**
 * In which order a relay's addresses are tried: RFC 8305 §4.
 * @module
 */
import type { Address } from "../core/mod.ts";

/** Addresses of one round of attempts; more are left out (a relay has one or two of each family). */
export const MAX_ADDRESSES = 16;

/**
 * The families take turns, IPv6 first, each in the order given (RFC 8305 §4, with one address of the first family
 * before the other's turn). The one that worked last time goes first of all: its ticket and its path are known good.
 * Equal addresses count once.
 */
export function orderAddresses(
  addresses: readonly Address[],
  lastGood: Address | undefined,
): Address[] {
  const unique = [...new Map(addresses.map((address) => [address.key, address])).values()];
  const good = unique.find((address) => address.key === lastGood?.key);
  const rest = unique.filter((address) => address !== good);
  const first = rest.filter((address) => address.family === (good?.family === 6 ? 4 : 6));
  const second = rest.filter((address) => !first.includes(address));
  const ordered = good ? [good] : [];
  for (let i = 0; i < Math.max(first.length, second.length); i++) {
    const pair = [first[i], second[i]];
    for (const address of pair) if (address) ordered.push(address);
  }
  return ordered.slice(0, MAX_ADDRESSES);
}
