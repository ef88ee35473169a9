/**
 * Metrics and health over HTTP, for whatever watches a role:
 *
 * | path | answer |
 * |---|---|
 * | `/metrics` | figures in Prometheus' text format |
 * | `/healthz` | 200: the process is alive |
 * | `/readyz` | 200: the role can serve; 503 and why: it cannot just now |
 *
 * There is no password: it listens on loopback unless told otherwise, and says nothing secret (names of services, figures).
 * @module
 */
import { formatHostPort, type HostPort, type Logger, messageOf, UserError } from "../core/mod.ts";
import { type Metric, renderMetrics } from "./metric.ts";

/** What a role tells. */
export interface AdminSource {
  /** Why it cannot serve just now; `undefined`: it can. */
  whyNotReady(): string | undefined;
  metrics(): Metric[];
}

/** A server that listens already, before the role can serve. */
export interface AdminServer {
  /** With the port that the system chose if 0 was asked for. */
  readonly address: HostPort;
  /** From now on there is something to tell. */
  serve(source: AdminSource): void;
  /** Stops; resolves when it has. Idempotent. */
  close(): Promise<void>;
}

/**
 * Starts the server; `undefined` where none is wanted.
 *
 * @throws {UserError} where the address cannot be listened on
 */
export function openAdmin(
  { admin, log }: { readonly admin?: HostPort; readonly log: Logger },
): AdminServer | undefined {
  if (!admin) return undefined;
  let source: AdminSource = { whyNotReady: () => "starting", metrics: () => [] };
  const stop = new AbortController();
  const server = listen(admin, stop.signal, (request) => answer(request, source));
  const { hostname: host, port } = server.addr;
  log.info("metrics and health", { at: `http://${formatHostPort({ host, port })}/metrics` });
  return {
    address: { host, port },
    serve: (role) => source = role,
    async close() {
      stop.abort();
      await server.finished;
    },
  };
}

function listen(
  at: HostPort,
  signal: AbortSignal,
  handler: (request: Request) => Promise<Response>,
): Deno.HttpServer<Deno.NetAddr> {
  try {
    return Deno.serve({
      hostname: at.host,
      port: at.port,
      signal,
      onListen: () => {},
      onError: (error) => text(500, messageOf(error)),
    }, handler);
  } catch (cause) {
    const why = cause instanceof Deno.errors.AddrInUse
      ? "the port is in use"
      : cause instanceof Deno.errors.PermissionDenied
      ? "this user may not"
      : messageOf(cause);
    throw new UserError(`Cannot serve metrics on ${formatHostPort(at)} as ${why}`, {
      next: "Choose another address with --admin",
      cause,
    });
  }
}

async function answer(request: Request, source: AdminSource): Promise<Response> {
  const { pathname } = new URL(request.url);
  if (request.method !== "GET" && request.method !== "HEAD") {
    return text(405, "There is only GET here", { allow: "GET, HEAD" });
  }
  switch (pathname) {
    case "/metrics": {
      const { text: body, contentType } = await renderMetrics(source.metrics());
      return text(200, body.trimEnd(), { "content-type": contentType });
    }
    case "/healthz":
      return text(200, "alive");
    case "/readyz": {
      const why = source.whyNotReady();
      return why === undefined ? text(200, "ready") : text(503, why);
    }
    default:
      return text(404, "There are /metrics, /healthz and /readyz here");
  }
}

function text(status: number, body: string, headers: Record<string, string> = {}): Response {
  return new Response(`${body}\n`, {
    status,
    headers: {
      "content-type": "text/plain; charset=utf-8",
      "cache-control": "no-store",
      ...headers,
    },
  });
}
