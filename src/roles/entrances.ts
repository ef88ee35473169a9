/**
 * The agent's local ports: forwards, the SOCKS5 proxy, the HTTP proxy.
 * @module
 */
import { formatHostPort, type HostPort, type Logger } from "../core/mod.ts";
import {
  listenForward,
  listenHttpProxy,
  listenSocks5,
  listenUdpForward,
  type LocalListener,
  SERVICE_DOMAIN,
  type TcpFlowOpener,
  type UdpFlowOpener,
} from "../ingress/mod.ts";
import type { Entrances } from "./remembered.ts";

/** What an agent has opened. */
export interface OpenEntrances {
  /** For status and the ready line: `web=127.0.0.1:9000`, `dns=udp://127.0.0.1:5353`, `socks5://127.0.0.1:1080`, `http://127.0.0.1:8118`. */
  readonly endpoints: readonly string[];
  /** Services that a local port leads to. */
  readonly services: readonly string[];
  /** A command to try next; `undefined` where nothing was opened. */
  readonly example: string | undefined;
}

/** What opening needs. */
export interface EntranceOptions {
  readonly open: TcpFlowOpener & UdpFlowOpener;
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
      const listen = protocol === "tcp" ? listenForward : listenUdpForward;
      return { service, protocol, at: keep(listen({ ...options, service, at: address })) };
    });
    const socks = wanted.socks && keep(listenSocks5({ ...options, at: wanted.socks }));
    const http = wanted.httpProxy &&
      keep(listenHttpProxy({ ...options, at: wanted.httpProxy, socks }));
    const web = forwards.find(({ protocol }) => protocol === "tcp");
    const any = `http://SERVICE.${SERVICE_DOMAIN}/`;
    return {
      endpoints: [
        ...forwards.map(({ service, protocol, at }) =>
          `${service}=${protocol === "udp" ? "udp://" : ""}${formatHostPort(at)}`
        ),
        ...socks ? [`socks5://${formatHostPort(socks)}`] : [],
        ...http ? [`http://${formatHostPort(http)}`] : [],
      ],
      services: forwards.map(({ service }) => service),
      example: web
        ? `curl http://${formatHostPort(web.at)}/`
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
