/**
 * Where others reach a relay.
 * @module
 */
import { type Address, addressOf, type HostPort } from "../core/mod.ts";

/** Addresses of this machine that go into invites at most; a person who has more names the right ones with `--public`. */
const MAX_ADDRESSES = 16;

/** What we are told, or the address that we listen on, or all that this machine has. */
export function choosePublic(
  told: readonly HostPort[],
  listen: HostPort,
): readonly HostPort[] {
  if (told.length > 0) return told;
  const { host, port } = listen;
  if (host !== "::" && host !== "0.0.0.0") return [listen];
  const own = Deno.networkInterfaces()
    .filter(({ family }) => family === "IPv4" || host === "::")
    .flatMap(({ address }): Address[] => {
      try {
        return [addressOf(address, port)];
      } catch {
        return [];
      }
    })
    .filter((address) => !address.host.startsWith("fe80:"));
  const isLoopback = ({ host }: Address) => host === "::1" || host.startsWith("127.");
  const reachable = own.filter((address) => !isLoopback(address));
  const chosen = (reachable.length > 0 ? reachable : own).slice(0, MAX_ADDRESSES);
  return chosen.map(({ host, port }) => ({ host, port }));
}
