/**
 * Which addresses this machine has a way to.
 * @module
 */
import { type Address, addressOf } from "../core/mod.ts";
import { isUsable, rangeOf } from "../path/mod.ts";
import { sourceTowards } from "../sockets/mod.ts";

/**
 * Those that this machine's routes lead to; whether anybody is there is another question. Where the system does not tell its
 * routes, those of a family in which it has an address that means something beyond its own link.
 */
export function reachableOf(addresses: readonly Address[]): Address[] {
  return addresses.filter((address) => {
    const source = sourceTowards(address);
    return source === undefined ? hasFamilyFor(address, ownHosts()) : source !== null;
  });
}

/** {@linkcode reachableOf} one address, by this machine's own. Pure. */
export function hasFamilyFor(address: Address, own: readonly Address[]): boolean {
  if (rangeOf(address) === "loopback") return true;
  return own.some((host) => host.family === address.family && isUsable(host));
}

function ownHosts(): Address[] {
  return networkInterfaces().flatMap(({ address }) => {
    try {
      return [addressOf(address, 1)];
    } catch {
      return [];
    }
  });
}

/** This machine's interfaces; none too early or too late in an interface's life. */
export function networkInterfaces(): Deno.NetworkInterfaceInfo[] {
  try {
    return Deno.networkInterfaces();
  } catch {
    return [];
  }
}
