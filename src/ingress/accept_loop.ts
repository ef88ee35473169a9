/**
 * Listening for local TCP connections: the part that every way in shares.
 * @module
 */
import { formatHostPort, type HostPort, type Logger, messageOf, UserError } from "../core/mod.ts";

/** Local connections at once per listener, beyond which new ones wait in the kernel's backlog: far above what one application opens, and within the usual limit of descriptors. */
export const MAX_LOCAL_CONNECTIONS = 4_096;

/** How long to wait after a failed accept, in milliseconds: descriptors come back in such times. */
const ACCEPT_PAUSE_MS = 100;

/** How to listen. */
export interface AcceptOptions {
  readonly at: HostPort;
  /** What it is for, in messages: `"web"`, `the SOCKS5 proxy`. */
  readonly what: string;
  /** How a person chooses another port: `web=HOST:PORT`, `--socks HOST:PORT`. */
  readonly flag: string;
  /** Serves one connection; owns it, and closes it before it resolves. */
  readonly serve: (conn: Deno.TcpConn, peer: string) => Promise<void>;
  readonly log: Logger;
  /** Stops accepting; connections that are served go on. */
  readonly signal: AbortSignal;
  /** @default 4096 */
  readonly maxConnections?: number;
}

/** A running listener. */
export interface LocalListener {
  /** Where it listens, with the port that the system chose if 0 was asked for. */
  readonly address: HostPort;
  /** Connections being served. */
  readonly connections: number;
  /** Stops accepting; idempotent. Connections that are served go on. */
  close(): void;
  /** Resolves when accepting has stopped and the last connection has been served. */
  readonly finished: Promise<void>;
}

/**
 * Listens and serves each connection.
 *
 * @throws {UserError} where the address cannot be listened on, saying what to do
 */
export function acceptConnections(options: AcceptOptions): LocalListener {
  const listener = listen(options);
  const { hostname, port } = listener.addr as Deno.NetAddr;
  const { serve, log, signal, maxConnections = MAX_LOCAL_CONNECTIONS } = options;
  let connections = 0;
  let closed = false;
  let slotFree: (() => void) | undefined;
  const serving = new Set<Promise<void>>();

  const close = () => {
    if (closed) return;
    closed = true;
    listener.close();
    slotFree?.();
  };

  const serveOne = async (conn: Deno.TcpConn) => {
    const { hostname: host, port } = conn.remoteAddr;
    try {
      conn.setNoDelay(true);
      await serve(conn, formatHostPort({ host, port }));
    } catch (error) {
      log.debug("local connection failed", { reason: messageOf(error) });
    } finally {
      closeQuietly(conn);
    }
  };

  const take = (conn: Deno.TcpConn) => {
    connections++;
    const served = serveOne(conn).finally(() => {
      connections--;
      serving.delete(served);
      slotFree?.();
    });
    serving.add(served);
  };

  const run = async () => {
    let failing = false;
    while (!closed) {
      if (connections >= maxConnections) {
        await new Promise<void>((resolve) => slotFree = resolve);
        slotFree = undefined;
        continue;
      }
      try {
        take(await listener.accept());
        failing = false;
      } catch (error) {
        if (closed) break;
        // The peer has reset what was in the backlog: the next one need not wait for that.
        if (error instanceof Deno.errors.NotConnected) continue;
        // Out of descriptors: that passes.
        if (!failing) {
          log.warn("cannot accept a local connection", {
            for: options.what,
            reason: messageOf(error),
          });
        }
        failing = true;
        await new Promise((resolve) => setTimeout(resolve, ACCEPT_PAUSE_MS));
      }
    }
    await Promise.all(serving);
  };

  signal.addEventListener("abort", close, { once: true });
  if (signal.aborted) close();
  const finished = run().finally(() => signal.removeEventListener("abort", close));
  return {
    address: { host: hostname, port },
    get connections() {
      return connections;
    },
    close,
    finished,
  };
}

function listen({ at, what, flag }: AcceptOptions): Deno.TcpListener {
  try {
    return Deno.listen({ transport: "tcp", hostname: at.host, port: at.port });
  } catch (cause) {
    const where = formatHostPort(at);
    if (cause instanceof Deno.errors.AddrInUse) {
      throw new UserError(`Cannot listen on ${where} for ${what} as the port is in use`, {
        next: `Stop the program that uses it, or choose another port with ${flag}`,
        cause,
      });
    }
    if (cause instanceof Deno.errors.PermissionDenied) {
      throw new UserError(`Cannot listen on ${where} for ${what} as this user may not`, {
        next: `Choose a port above 1023 with ${flag}`,
        cause,
      });
    }
    throw new UserError(`Cannot listen on ${where} for ${what}: ${messageOf(cause)}`, {
      next: `Choose an address of this machine with ${flag}`,
      cause,
    });
  }
}

/** Closes a connection that may be closed already. */
export function closeQuietly(conn: { close(): void }): void {
  try {
    conn.close();
  } catch {
    // Closed already: what we wanted.
  }
}
