/**
 * Which of this machine's own addresses are worth telling the other end.
 * @module
 */
import { type Address, addressOf } from "../core/address.ts";
import { type Candidate, isUsable, rangeOf } from "./candidate.ts";

/** One address of one interface, as `Deno.networkInterfaces()` lists them (the fields that matter here). */
export interface InterfaceAddress {
  readonly name: string;
  readonly address: string;
}

/** Host candidates at most, half for each family where both have more: each costs the other end probes. */
export const MAX_HOST_CANDIDATES = 16;

/**
 * Interfaces of container and virtual machine bridges: their addresses are the same on thousands of machines, so a probe
 * there wastes time at best and reaches a stranger's container at worst.
 */
const BRIDGE =
  /^(docker|br-|veth|virbr|vnet|cni|cbr|flannel|cali|podman|lxc|lxd|kube|vmnet|vboxnet|vEthernet)/i;

/** How to gather. */
export interface GatherOptions {
  /** The P2P socket's local port. */
  readonly port: number;
  /** Offer loopback too: right when the relay itself is on loopback, so both ends may be on this machine. @default false */
  readonly allowLoopback?: boolean;
  /** Does the P2P socket reach IPv6 at all? @default true */
  readonly ipv6?: boolean;
}

/** Link-local, loopback and such first out, then one order: IPv6 global first, as it needs no NAT. */
function preference(address: Address): number {
  const range = rangeOf(address);
  if (range === "loopback") return 4;
  if (address.family === 6) return range === "uniqueLocal" ? 2 : 0;
  return range === "private" ? 1 : range === "carrierGradeNat" ? 3 : 0;
}

function parse(entry: InterfaceAddress, port: number): Address | undefined {
  try {
    return addressOf(entry.address, port);
  } catch {
    return undefined;
  }
}

/**
 * Host candidates out of the interfaces' addresses: no link-local, no loopback (unless allowed), no container bridges
 * unless there is nothing else; at most {@linkcode MAX_HOST_CANDIDATES}, best first, each address once.
 */
export function gatherHostCandidates(
  interfaces: Iterable<InterfaceAddress>,
  options: GatherOptions,
): Candidate[] {
  const { port, allowLoopback = false, ipv6 = true } = options;
  const outside = new Map<string, Address>();
  const bridged = new Map<string, Address>();
  for (const entry of interfaces) {
    const address = parse(entry, port);
    if (!address || !isUsable(address, { allowLoopback })) continue;
    if (address.family === 6 && !ipv6) continue;
    (BRIDGE.test(entry.name) ? bridged : outside).set(address.key, address);
  }
  const real = [...outside.values()].some((address) => rangeOf(address) !== "loopback");
  const chosen = real ? outside : new Map([...outside, ...bridged]);
  const sorted = [...chosen.values()].sort((a, b) => preference(a) - preference(b));
  const ofFamily = (family: 4 | 6) => sorted.filter((address) => address.family === family);
  const [six, four] = [ofFamily(6), ofFamily(4)];
  const sixes = Math.min(
    six.length,
    Math.max(MAX_HOST_CANDIDATES / 2, MAX_HOST_CANDIDATES - four.length),
  );
  const kept = [...six.slice(0, sixes), ...four.slice(0, MAX_HOST_CANDIDATES - sixes)];
  return kept.map((address) => ({ kind: "host", address }));
}
