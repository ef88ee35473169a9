/**
 * Which addresses of this machine need a socket of their own, so that answers leave from the address that was asked.
 * Pure: no I/O.
 * @module
 */
import { type Address, addressOf } from "../core/mod.ts";

/**
 * Sockets beside the one that is bound to all addresses. A machine with more addresses answers those who ask the others
 * from the address that the system prefers.
 */
export const MAX_OWN = 32;

/** What is looked at of an interface, as `Deno.networkInterfaces()` tells it. */
export interface OwnAddress {
  readonly address: string;
}

/**
 * Hosts, in canonical text, that need a socket of their own: all of a family that has more than one.
 *
 * Loopback counts for nothing, as the system answers from the address that was asked there; nor do link-local addresses,
 * which mean nothing without their interface. Of one single address the system has no choice.
 *
 * @param options `family` of the socket: 6 means both
 */
export function hostsToAnswerFrom(
  own: readonly OwnAddress[],
  { family }: { family: 4 | 6 },
): string[] {
  const hosts: Record<4 | 6, Set<string>> = { 4: new Set(), 6: new Set() };
  for (const { address } of own) {
    const parsed = parse(address);
    if (parsed && !isLoopback(parsed) && !isLinkLocal(parsed)) {
      hosts[parsed.family].add(parsed.host);
    }
  }
  const families = family === 6 ? [hosts[4], hosts[6]] : [hosts[4]];
  return families.flatMap((set) => set.size > 1 ? [...set] : []).slice(0, MAX_OWN);
}

function parse(host: string): Address | undefined {
  try {
    return addressOf(host, 0);
  } catch {
    return undefined;
  }
}

function isLoopback({ family, host }: Address): boolean {
  return family === 4 ? host.startsWith("127.") : host === "::1";
}

/** fe80::/10 (RFC 4291 §2.5.6). */
function isLinkLocal({ family, host }: Address): boolean {
  return family === 6 && /^fe[89ab][0-9a-f]:/.test(host);
}
