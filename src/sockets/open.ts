/**
 * Opens the best UDP socket that this system gives.
 * @module
 */
import { batchedSocket } from "./batched_socket.ts";
import { listen } from "./listen.ts";
import { multiHomedSocket } from "./multi_homed_socket.ts";
import { portableSocket } from "./portable_socket.ts";
import type { UdpSocket, UdpSocketOptions } from "./udp_socket.ts";

/**
 * A bound UDP socket: batched on Linux where FFI works, else portable.
 *
 * @throws {UserError} where the port is taken or not permitted, or the address is not this machine's
 */
export function openUdpSocket(options: UdpSocketOptions = {}): UdpSocket {
  const listener = listen(options);
  if (options.portable) return portableSocket(listener);
  const { bufferBytes, answerFromAsked = true } = options;
  const isWildcard = listener.local.host === "::" || listener.local.host === "0.0.0.0";
  const make = isWildcard && answerFromAsked ? multiHomedSocket : batchedSocket;
  return make(listener, bufferBytes === undefined ? {} : { bufferBytes }) ??
    portableSocket(listener);
}
