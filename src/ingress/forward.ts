/**
 * A local port that leads to one service.
 * @module
 */
import { type HostPort, type Logger, messageOf } from "../core/mod.ts";
import { resetConn, type TcpFlow } from "../mux/mod.ts";
import { acceptConnections, type LocalListener } from "./accept_loop.ts";
import type { TcpFlowOpener } from "./flow_opener.ts";

/** How to forward. */
export interface ForwardOptions {
  readonly service: string;
  readonly at: HostPort;
  readonly open: TcpFlowOpener;
  readonly log: Logger;
  /** Stops accepting; connections that are served go on. */
  readonly signal: AbortSignal;
  /** @default 4096 */
  readonly maxConnections?: number;
}

/**
 * Listens on a local TCP port and carries each connection to the service. The application's first bytes do not wait for
 * the service's answer; where the service cannot be had the connection is reset and the log says why.
 *
 * @throws {UserError} where the port cannot be listened on
 */
export function listenForward(options: ForwardOptions): LocalListener {
  const { service, open, log } = options;
  return acceptConnections({
    ...options,
    what: `"${service}"`,
    flag: `${service}=HOST:PORT`,
    serve: async (conn, peer) => {
      let flow: TcpFlow | undefined;
      try {
        flow = await open.openTcp(service, peer);
        await flow.pipe(conn);
      } catch (error) {
        log.warn("cannot open flow", { service, peer, reason: messageOf(error) });
        if (!flow) resetConn(conn);
      }
    },
  });
}
