/**
 * Binding a UDP socket with Deno, and saying in plain words why that failed.
 * @module
 */
import { type Address, addressOf, formatHostPort, messageOf, UserError } from "../core/mod.ts";
import type { UdpSocketOptions } from "./udp_socket.ts";

/** A bound socket of Deno's, with where it is bound. */
export interface Listener {
  readonly socket: Deno.DatagramConn;
  readonly local: Address;
}

/**
 * Binds `host`:`port`; without a host both families, or IPv4 alone where the system has no IPv6.
 *
 * @throws {UserError} where the port is taken, not permitted, or the address is not this machine's
 */
export function listen({ host, port = 0 }: UdpSocketOptions): Listener {
  if (host !== undefined) return bind(host, port);
  try {
    return bind("::", port);
  } catch (error) {
    // A taken port is taken on IPv4 too; anything else means that the system has no IPv6.
    if (!(error instanceof UserError) || error.cause instanceof Deno.errors.AddrInUse) throw error;
    return bind("0.0.0.0", port);
  }
}

/**
 * Binds exactly this.
 *
 * @param options `shared`: with SO_REUSEADDR, also beside sockets that have it, too. @default false
 * @throws {UserError} as {@linkcode listen}
 */
export function bind(host: string, port: number, { shared = false } = {}): Listener {
  try {
    const socket = Deno.listenDatagram({
      hostname: host,
      port,
      transport: "udp",
      reuseAddress: shared,
    });
    const local = socket.addr as Deno.NetAddr;
    return { socket, local: addressOf(local.hostname, local.port) };
  } catch (error) {
    const { reason, ...advice } = bindFailure(error);
    const where = formatHostPort({ host, port });
    throw new UserError(`Cannot listen on UDP ${where} as ${reason}`, { ...advice, cause: error });
  }
}

/** Why binding failed, as the end of a sentence, and what to do about it. */
export function bindFailure(cause: unknown): { reason: string; next?: string } {
  if (cause instanceof Deno.errors.AddrInUse) {
    return {
      reason: "another program uses it",
      next: "Choose another port with --listen, or stop the other program",
    };
  }
  if (cause instanceof Deno.errors.AddrNotAvailable) {
    return {
      reason: "no interface of this machine has that address",
      next: "Choose an address that this machine has, or [::] for all of them",
    };
  }
  if (cause instanceof Deno.errors.PermissionDenied) {
    return {
      reason: "this user may not use that port",
      next: "Choose a port above 1023, or give the program the right to use it",
    };
  }
  return { reason: `the system refuses: ${messageOf(cause)}` };
}
