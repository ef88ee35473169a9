/**
 * `SERVICE=ADDRESS`, as connector and agent take it.
 * @module
 */
import { formatHostPort, type HostPort, parseHostPort } from "../core/address.ts";
import { messageOf, UsageError } from "../core/errors.ts";
import { parseName } from "../identity/name.ts";
import type { ServiceAddress } from "../roles/options.ts";
import type { Reader } from "./flags.ts";

function readService(text: string, wanted: string, options: { defaultHost?: string }) {
  const equals = text.indexOf("=");
  if (equals < 0) {
    throw new SyntaxError(`Cannot read ${JSON.stringify(text)}: expected ${wanted}`);
  }
  const service = parseName(text.slice(0, equals), { what: "service name" });
  const rest = text.slice(equals + 1);
  const [, scheme, address] = /^(?:([^:/]*):\/\/)?(.*)$/s.exec(rest)!;
  if (scheme !== undefined && scheme !== "tcp" && scheme !== "udp") {
    throw new SyntaxError(
      `Cannot use ${JSON.stringify(`${scheme}://`)} in ${
        JSON.stringify(text)
      }: expected tcp:// or udp://`,
    );
  }
  let hostPort: HostPort;
  try {
    hostPort = parseHostPort(address!.replace(/\/$/, ""), options);
  } catch (error) {
    throw new SyntaxError(`${messageOf(error)}, as in ${wanted}`);
  }
  return { service, protocol: scheme ?? "tcp", address: hostPort } satisfies ServiceAddress;
}

function refusePortZero(address: HostPort, text: string): void {
  if (address.port === 0) throw new RangeError(`Cannot reach port 0 in ${JSON.stringify(text)}`);
}

/** `web=127.0.0.1:8080`, `dns=udp://127.0.0.1:53`: where a connector finds a service. */
export const readTarget: Reader<ServiceAddress> = (text) => {
  const target = readService(text, "web=127.0.0.1:8080 or dns=udp://127.0.0.1:53", {});
  refusePortZero(target.address, text);
  return target;
};

/** `web=9000`, `web=0.0.0.0:9000`, `dns=udp://5353`: which local port of an agent leads to a service. Port 0: any. */
export const readForward: Reader<ServiceAddress> = (text) =>
  readService(text, "web=9000 or dns=udp://127.0.0.1:5353", { defaultHost: "127.0.0.1" });

/** A service's name. */
export const readServiceName: Reader<string> = (text) => parseName(text, { what: "service name" });

/**
 * A connector reaches each service in one way.
 *
 * @throws {UsageError}
 */
export function checkTargets(targets: readonly ServiceAddress[]): void {
  const seen = new Map<string, ServiceAddress>();
  for (const target of targets) {
    const { service, address } = target;
    const other = seen.get(service)?.address;
    if (other !== undefined) {
      throw new UsageError(
        `Cannot offer "${service}" twice, at ${formatHostPort(other)} and ${
          formatHostPort(address)
        }`,
        { next: "give one of them another name" },
      );
    }
    seen.set(service, target);
  }
}

/**
 * One local port leads to one service.
 *
 * @throws {UsageError}
 */
export function checkForwards(forwards: readonly ServiceAddress[]): void {
  const seen = new Map<string, string>();
  for (const { service, protocol, address } of forwards) {
    if (address.port === 0) continue;
    const place = `${protocol}://${formatHostPort(address)}`;
    const other = seen.get(place);
    if (other !== undefined) {
      throw new UsageError(`Cannot use ${place} for both "${other}" and "${service}"`, {
        next: "give each service a port of its own",
      });
    }
    seen.set(place, service);
  }
}
