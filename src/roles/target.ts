/**
 * How a connector reaches the service that a flow is for.
 * @module
 */
import { formatHostPort, messageOf } from "../core/mod.ts";
import { type ByteConn, FlowRefused } from "../mux/mod.ts";
import type { ServiceAddress } from "./options.ts";

/** Longest that a target may take to accept, in milliseconds: a browser waits longer, a person does not. */
const DIAL_TIMEOUT = 10_000;

/**
 * Connects to a service.
 *
 * @throws {FlowRefused} `target-refused`, `target-timeout` or `target-unreachable`
 */
export async function dialTarget(target: ServiceAddress): Promise<ByteConn> {
  const { service, address } = target;
  const at = formatHostPort(address);
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    const seconds = DIAL_TIMEOUT / 1000;
    late.reject(
      new FlowRefused(
        "target-timeout",
        `Cannot open flow to "${service}" as ${at} has not answered for ${seconds} s`,
      ),
    );
  }, DIAL_TIMEOUT);
  const dialled = Deno.connect({ hostname: address.host, port: address.port });
  try {
    const conn = await Promise.race([dialled, late.promise]);
    conn.setNoDelay(true);
    return conn;
  } catch (error) {
    // A connection that comes too late is nobody's.
    dialled.then((conn) => conn.close(), () => {});
    if (error instanceof FlowRefused) throw error;
    const refused = error instanceof Deno.errors.ConnectionRefused;
    throw new FlowRefused(
      refused ? "target-refused" : "target-unreachable",
      refused
        ? `Cannot open flow to "${service}" as nothing listens on ${at} at the connector`
        : `Cannot open flow to "${service}" as ${at} is out of the connector's reach: ${
          messageOf(error)
        }`,
    );
  } finally {
    clearTimeout(timer);
  }
}
