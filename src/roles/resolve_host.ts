/**
 * From a relay's name to its addresses.
 * @module
 */
import { type Address, addressOf, type HostPort } from "../core/mod.ts";

/** All addresses of a host, IPv6 and IPv4; none where the name does not resolve just now. */
export async function resolveHost({ host, port }: HostPort): Promise<Address[]> {
  try {
    return [addressOf(host, port)];
  } catch {
    // A name, then.
  }
  const records = await Promise.allSettled([
    Deno.resolveDns(host, "AAAA"),
    Deno.resolveDns(host, "A"),
  ]);
  const hosts = records.flatMap((record) => record.status === "fulfilled" ? record.value : []);
  if (hosts.length === 0) {
    // The system's own resolver also knows /etc/hosts.
    const { lookup } = await import("node:dns/promises");
    const found = await lookup(host, { all: true }).catch(() => []);
    hosts.push(...found.map(({ address }) => address));
  }
  return hosts.map((text) => addressOf(text, port));
}
