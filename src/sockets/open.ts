/**
 * Opens the best UDP socket that this system gives.
 * @module
 */
import { batchedSocket } from "./batched_socket.ts";
import { listen } from "./listen.ts";
import { portableSocket } from "./portable_socket.ts";
import type { UdpSocket, UdpSocketOptions } from "./udp_socket.ts";

/**
 * A bound UDP socket: batched on Linux where FFI works, else portable.
 *
 * @throws {UserError} where the port is taken or not permitted, or the address is not this machine's
 */
export function openUdpSocket(options: UdpSocketOptions = {}): UdpSocket {
  const listener = listen(options);
  const { bufferBytes } = options;
  const batched = options.portable
    ? undefined
    : batchedSocket(listener, bufferBytes === undefined ? {} : { bufferBytes });
  return batched ?? portableSocket(listener);
}
