/**
 * A direct way to the other end: which socket of ours, which address of theirs.
 * @module
 */
import type { Address } from "../core/address.ts";

/** A UDP socket, by the number that the driver gave it. */
export type SocketId = number;
/** The P2P socket. Sockets opened for guessing ports have other numbers. */
export const P2P_SOCKET: SocketId = 0;

/**
 * A packet that every path must carry before it is chosen, in bytes of UDP payload: QUIC cannot do with less (RFC 9000 §14),
 * and IPv6's least MTU of 1280 leaves room for it.
 */
export const BASE_MTU = 1200;

/** A way to the other end. */
export interface DirectPath {
  readonly socket: SocketId;
  readonly remote: Address;
}

/** Equal for equal paths. */
export function pathKey(path: DirectPath): string {
  return `${path.socket} ${path.remote.key}`;
}

/** Are these one path? */
export function isSamePath(a: DirectPath | undefined, b: DirectPath | undefined): boolean {
  return a !== undefined && b !== undefined && a.socket === b.socket &&
    a.remote.key === b.remote.key;
}
