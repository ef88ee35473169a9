/**
 * The HTTP proxy: CONNECT and plain `http://` for `NAME.postern`, and `/proxy.pac`. Everything else is refused.
 * @module
 */
import { type Bytes, concatBytes, type HostPort, type Logger } from "../core/mod.ts";
import { acceptConnections, type LocalListener } from "./accept_loop.ts";
import { withFirstBytes } from "./first_bytes.ts";
import type { TcpFlowOpener } from "./flow_opener.ts";
import {
  encodeHttpAnswer,
  type HeadResult,
  HttpHeadReader,
  type ProxyRequest,
} from "./http_connect_codec.ts";
import { PAC_CONTENT_TYPE, pacFile } from "./pac.ts";
import {
  answerAndClose,
  answerAndPipe,
  openAccepted,
  PROXY_REQUEST_MS,
  readSome,
  startRequestTimer,
} from "./proxy_client.ts";
import { serviceOfHost } from "./service_host.ts";

/** How to run the proxy. */
export interface HttpProxyOptions {
  readonly at: HostPort;
  readonly open: TcpFlowOpener;
  readonly log: Logger;
  /** Stops accepting; connections that are served go on. */
  readonly signal: AbortSignal;
  /** Where the SOCKS5 proxy listens, if it runs: named in the PAC file as the second way. */
  readonly socks?: HostPort | undefined;
  /** @default 4096 */
  readonly maxConnections?: number;
  /** How long a client has for its request, in milliseconds. @default 30 s */
  readonly requestMs?: number;
}

/**
 * Listens for HTTP proxy clients.
 *
 * @throws {UserError} where the port cannot be listened on
 */
export function listenHttpProxy(options: HttpProxyOptions): LocalListener {
  return acceptConnections({
    ...options,
    what: "the HTTP proxy",
    flag: "--http-proxy [HOST:]PORT",
    serve: (conn, peer) => serveClient(conn, peer, options),
  });
}

async function serveClient(
  conn: Deno.TcpConn,
  peer: string,
  options: HttpProxyOptions,
): Promise<void> {
  const reader = new HttpHeadReader();
  const stopTimer = startRequestTimer(conn, options.requestMs ?? PROXY_REQUEST_MS);
  let request: HeadResult | undefined;
  try {
    request = await readHead(conn, reader);
  } finally {
    stopTimer();
  }
  if (!request) return;
  if (request.type === "refused") {
    options.log.info(request.reason, { peer });
    return await answerAndClose(conn, encodeHttpAnswer(request.status, `${request.reason}\n`));
  }
  if (request.type === "own") return await answerAndClose(conn, ownAnswer(request, conn, options));
  const named = serviceOfHost(request.target.host);
  if ("refused" in named) {
    options.log.info(named.refused, { peer });
    return await answerAndClose(conn, encodeHttpAnswer(403, `${named.refused}\n`));
  }
  await carry(conn, { service: named.service, peer, request, rest: reader.rest, options });
}

async function carry(
  conn: Deno.TcpConn,
  { service, peer, request, rest, options }: {
    service: string;
    peer: string;
    request: Extract<ProxyRequest, { type: "connect" | "forward" }>;
    rest: Bytes;
    options: HttpProxyOptions;
  },
): Promise<void> {
  const opened = await openAccepted(options.open, service, peer);
  if ("refusal" in opened) {
    const { http, message } = opened.refusal;
    options.log.warn("cannot open flow", { service, peer, reason: message });
    return await answerAndClose(conn, encodeHttpAnswer(http, `${message}\n`));
  }
  const { flow } = opened;
  if (request.type === "forward") {
    return await flow.pipe(withFirstBytes(conn, concatBytes(request.head, rest)));
  }
  await answerAndPipe(conn, { flow, answer: encodeHttpAnswer(200), rest });
}

function ownAnswer(
  { path, withBody, host }: Extract<ProxyRequest, { type: "own" }>,
  conn: Deno.TcpConn,
  { socks }: HttpProxyOptions,
): Bytes {
  if (path !== "/proxy.pac") {
    return encodeHttpAnswer(404, "There is only /proxy.pac here\n", { withBody });
  }
  // As the browser reached us, so that it also reaches the proxies that the file names.
  const { hostname, port } = conn.localAddr;
  const reached = host && /^[A-Za-z0-9.:-]{1,253}$/.test(host.host)
    ? host
    : { host: hostname, port };
  const text = pacFile({
    http: reached,
    socks: socks && { host: reached.host, port: socks.port },
  });
  return encodeHttpAnswer(200, text, { contentType: PAC_CONTENT_TYPE, withBody });
}

/** The request, or `undefined` where the client left. */
async function readHead(
  conn: Deno.TcpConn,
  reader: HttpHeadReader,
): Promise<HeadResult | undefined> {
  while (true) {
    const chunk = await readSome(conn);
    if (!chunk) return undefined;
    const request = reader.push(chunk);
    if (request) return request;
  }
}
