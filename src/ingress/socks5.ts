/**
 * The SOCKS5 proxy: `web.postern` leads to the service `web`, everything else is refused.
 * @module
 */
import type { HostPort, Logger } from "../core/mod.ts";
import { acceptConnections, type LocalListener } from "./accept_loop.ts";
import type { TcpFlowOpener, UdpFlowOpener } from "./flow_opener.ts";
import {
  answerAndClose,
  answerAndPipe,
  openAccepted,
  PROXY_REQUEST_MS,
  readSome,
  startRequestTimer,
  writeAll,
} from "./proxy_client.ts";
import { serviceOfHost } from "./service_host.ts";
import {
  encodeSocks5Reply,
  SOCKS5_REPLY,
  type Socks5Credentials,
  type Socks5Event,
  Socks5Reader,
} from "./socks5_codec.ts";
import { serveAssociation } from "./socks5_udp.ts";

/** How to run the proxy. */
export interface Socks5Options {
  readonly at: HostPort;
  /** Without `openUdp`, UDP ASSOCIATE is answered as not supported. */
  readonly open: TcpFlowOpener & Partial<UdpFlowOpener>;
  readonly log: Logger;
  /** Stops accepting; connections that are served go on. */
  readonly signal: AbortSignal;
  /** RFC 1929; without it no password is asked for. */
  readonly credentials?: Socks5Credentials;
  /** @default 4096 */
  readonly maxConnections?: number;
  /** How long a client has for its request, in milliseconds. @default 30 s */
  readonly requestMs?: number;
}

/**
 * Listens for SOCKS5 clients.
 *
 * @throws {UserError} where the port cannot be listened on
 */
export function listenSocks5(options: Socks5Options): LocalListener {
  return acceptConnections({
    ...options,
    what: "the SOCKS5 proxy",
    flag: "--socks [HOST:]PORT",
    serve: (conn, peer) => serveClient(conn, peer, options),
  });
}

type Socks5Request = Extract<Socks5Event, { type: "request" }>;

async function serveClient(
  conn: Deno.TcpConn,
  peer: string,
  options: Socks5Options,
): Promise<void> {
  const reader = new Socks5Reader({ credentials: options.credentials });
  const stopTimer = startRequestTimer(conn, options.requestMs ?? PROXY_REQUEST_MS);
  let request: Socks5Request | undefined;
  try {
    request = await readRequest(conn, reader, (reason) => options.log.info(reason, { peer }));
  } finally {
    stopTimer();
  }
  if (!request) return;
  const { open } = options;
  if (request.command === "udp-associate") {
    if (open.openUdp) {
      return await serveAssociation(conn, { peer, open: open as UdpFlowOpener, log: options.log });
    }
    return await answerAndClose(conn, encodeSocks5Reply(SOCKS5_REPLY.commandNotSupported));
  }
  const named = serviceOfHost(request.target.host);
  if ("refused" in named) {
    options.log.info(named.refused, { peer });
    return await answerAndClose(conn, encodeSocks5Reply(SOCKS5_REPLY.notAllowed));
  }
  await connect(conn, { service: named.service, peer, reader, options });
}

async function connect(
  conn: Deno.TcpConn,
  { service, peer, reader, options }: {
    service: string;
    peer: string;
    reader: Socks5Reader;
    options: Socks5Options;
  },
): Promise<void> {
  const opened = await openAccepted(options.open, service, peer);
  if ("refusal" in opened) {
    options.log.warn("cannot open flow", { service, peer, reason: opened.refusal.message });
    return await answerAndClose(conn, encodeSocks5Reply(opened.refusal.socks));
  }
  await answerAndPipe(conn, {
    flow: opened.flow,
    answer: encodeSocks5Reply(SOCKS5_REPLY.succeeded),
    rest: reader.rest,
  });
}

/** The request, or `undefined` where the client was refused or left. */
async function readRequest(
  conn: Deno.TcpConn,
  reader: Socks5Reader,
  say: (reason: string) => void,
): Promise<Socks5Request | undefined> {
  while (true) {
    const chunk = await readSome(conn);
    if (!chunk) return undefined;
    reader.push(chunk);
    for (let event = reader.poll(); event; event = reader.poll()) {
      if (event.type === "request") return event;
      if (event.type === "send") {
        await writeAll(conn, event.bytes);
        continue;
      }
      say(event.reason);
      await answerAndClose(conn, event.bytes);
      return undefined;
    }
  }
}
