/**
 * Resetting a TCP connection (RST instead of FIN), which Deno has no call for.
 *
 * Linux: `connect` to AF_UNSPEC on the connection's descriptor, found by its two addresses, dissolves the association with a
 * reset (SO_LINGER would not do: Deno's close shuts the writing side down first, so an end would travel ahead of the reset).
 * Elsewhere the connection is closed, which the peer sees as an end; its next write is answered with a reset.
 * @module
 */
import { addressOf } from "../core/mod.ts";
import type { ByteConn } from "./tcp_pipe.ts";

const AF_INET = 2;
const AF_INET6 = 10;

interface Libc {
  symbols: {
    connect(fd: number, address: Uint8Array<ArrayBuffer>, length: number): number;
    getsockname(
      fd: number,
      address: Uint8Array<ArrayBuffer>,
      length: Uint8Array<ArrayBuffer>,
    ): number;
    getpeername(
      fd: number,
      address: Uint8Array<ArrayBuffer>,
      length: Uint8Array<ArrayBuffer>,
    ): number;
  };
}

let libc: Libc | null | undefined;

function openLibc(): Libc | null {
  if (Deno.build.os !== "linux") return null;
  for (const name of ["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"]) {
    try {
      return Deno.dlopen(name, {
        connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
        getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
        getpeername: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
      }) as unknown as Libc;
    } catch {
      // Another libc, or FFI is not allowed.
    }
  }
  return null;
}

/** Ends a connection with a reset where the system lets us, with an end otherwise. Never throws. */
export function resetConn(conn: ByteConn & Partial<Deno.TcpConn>): void {
  try {
    if (conn.localAddr && conn.remoteAddr) dissolve(conn.localAddr, conn.remoteAddr);
  } catch {
    // Closing alone has to do.
  }
  try {
    conn.close();
  } catch {
    // Closed already.
  }
}

function dissolve(local: Deno.NetAddr, remote: Deno.NetAddr): void {
  libc ??= openLibc();
  if (!libc) return;
  const { symbols } = libc;
  const address = new Uint8Array(28);
  const length = new Uint8Array(4);
  const keyOf = (get: "getsockname" | "getpeername", fd: number): string | undefined => {
    length[0] = address.length;
    return symbols[get](fd, address, length) === 0 ? sockaddrKey(address) : undefined;
  };
  const wanted = addressOf(local.hostname, local.port).key;
  const wantedPeer = addressOf(remote.hostname, remote.port).key;
  for (const entry of Deno.readDirSync("/proc/self/fd")) {
    const fd = Number(entry.name);
    if (keyOf("getsockname", fd) !== wanted || keyOf("getpeername", fd) !== wantedPeer) continue;
    // All zeros is AF_UNSPEC.
    symbols.connect(fd, new Uint8Array(16), 16);
    return;
  }
}

/** The address in a Linux `sockaddr_in` or `sockaddr_in6`; `undefined` for other families. */
function sockaddrKey(bytes: Uint8Array): string | undefined {
  const port = bytes[2]! << 8 | bytes[3]!;
  const family = bytes[0]! | bytes[1]! << 8;
  if (family === AF_INET) return addressOf(bytes.subarray(4, 8).join("."), port).key;
  if (family !== AF_INET6) return undefined;
  const groups: string[] = [];
  for (let i = 8; i < 24; i += 2) groups.push((bytes[i]! << 8 | bytes[i + 1]!).toString(16));
  return addressOf(groups.join(":"), port).key;
}
