/**
 * Which file descriptor a socket of Deno's has. Deno does not say; `/proc/self/fd` and `getsockname` do.
 * @module
 */
import type { Address } from "../core/mod.ts";
import { getOption, type LoadedLibc, SocketOption } from "./libc.ts";
import { decodeSockaddr } from "./sockaddr.ts";

const FOLDER = "/proc/self/fd";
const SOCK_DGRAM = 2;

/**
 * The descriptor of the UDP socket that is bound to `local` in this process.
 *
 * It is the right one for certain, or none: where two different sockets have that very address (both opened to share
 * it), or `/proc` is not there, the answer is `undefined`.
 */
export function findDescriptor(libc: LoadedLibc, local: Address): number | undefined {
  let found: { fd: number; socket: string } | undefined;
  try {
    for (const { name } of Deno.readDirSync(FOLDER)) {
      const fd = Number(name);
      if (boundTo(libc, fd) !== local.key) continue;
      const socket = socketOf(name);
      if (socket === undefined) continue;
      if (found && found.socket !== socket) return undefined;
      found ??= { fd, socket };
    }
  } catch {
    return undefined;
  }
  return found?.fd;
}

/** `socket:[inode]`; `undefined` where it is gone meanwhile (the listing's own descriptor is). */
function socketOf(name: string): string | undefined {
  try {
    return Deno.readLinkSync(`${FOLDER}/${name}`);
  } catch {
    return undefined;
  }
}

function boundTo(libc: LoadedLibc, fd: number): string | undefined {
  if (getOption(libc, fd, SocketOption.TYPE) !== SOCK_DGRAM) return undefined;
  const name = new Uint8Array(128);
  const size = new Uint32Array([name.length]);
  if (libc.call.getsockname(fd, name, size) !== 0) return undefined;
  // A socket of another family (a unix one) is none of ours.
  return decodeSockaddr(name.subarray(0, size[0]))?.key;
}
