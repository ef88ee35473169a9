/**
 * The agent's local ports: forwards, the SOCKS5 proxy, the HTTP proxy.
 * @module
 */
import { formatHostPort, type HostPort, type Logger, UserError } from "../core/mod.ts";
import {
  listenForward,
  listenHttpProxy,
  listenSocks5,
  type LocalListener,
  SERVICE_DOMAIN,
  type TcpFlowOpener,
  type UdpFlowOpener,
} from "../ingress/mod.ts";
import type { Entrances } from "./remembered.ts";

/** What an agent has opened. */
export interface OpenEntrances {
  /** For status and the ready line: `web=127.0.0.1:9000`, `socks5://127.0.0.1:1080`, `http://127.0.0.1:8118`. */
  readonly endpoints: readonly string[];
  /** Services that a local port leads to. */
  readonly services: readonly string[];
  /** A command to try next; `undefined` where nothing was opened. */
  readonly example: string | undefined;
}

/** What opening needs. */
export interface EntranceOptions {
  readonly open: TcpFlowOpener & Partial<UdpFlowOpener>;
  readonly log: Logger;
  /** Stops accepting; connections that are served go on. */
  readonly signal: AbortSignal;
}

/**
 * Opens all of them, or none.
 *
 * @throws {UserError} naming the port that cannot be had
 */
export function openEntrances(wanted: Entrances, options: EntranceOptions): OpenEntrances {
  const { log } = options;
  const opened: LocalListener[] = [];
  const keep = (listener: LocalListener): HostPort => {
    opened.push(listener);
    return listener.address;
  };
  try {
    const forwards = wanted.forwards.map(({ service, protocol, address }) => {
      if (protocol !== "tcp") {
        throw new UserError(
          `Cannot open a local ${protocol} port for "${service}" as this version carries TCP only`,
          { next: `Leave ${service}=${protocol}://${formatHostPort(address)} out` },
        );
      }
      return { service, at: keep(listenForward({ ...options, service, at: address })) };
    });
    const socks = wanted.socks && keep(listenSocks5({ ...options, at: wanted.socks }));
    const http = wanted.httpProxy &&
      keep(listenHttpProxy({ ...options, at: wanted.httpProxy, socks }));
    const any = `http://SERVICE.${SERVICE_DOMAIN}/`;
    return {
      endpoints: [
        ...forwards.map(({ service, at }) => `${service}=${formatHostPort(at)}`),
        ...socks ? [`socks5://${formatHostPort(socks)}`] : [],
        ...http ? [`http://${formatHostPort(http)}`] : [],
      ],
      services: forwards.map(({ service }) => service),
      example: forwards[0]
        ? `curl http://${formatHostPort(forwards[0].at)}/`
        : socks
        ? `curl --proxy socks5h://${formatHostPort(socks)} ${any}`
        : http
        ? `curl --proxy http://${formatHostPort(http)} ${any}`
        : undefined,
    };
  } catch (error) {
    for (const listener of opened) listener.close();
    log.debug("no local port stays open", { opened: opened.length });
    throw error;
  }
}
