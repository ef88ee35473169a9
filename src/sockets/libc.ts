/**
 * The handful of libc calls that a batched UDP socket needs, and how Linux lays out what they take. 64-bit little-endian
 * Linux only (x86_64, aarch64); glibc and musl agree on every layout used here.
 * @module
 */
import type { Bytes } from "../core/mod.ts";

const SYMBOLS = {
  sendmsg: { parameters: ["i32", "pointer", "i32"], result: "i32" },
  sendmmsg: { parameters: ["i32", "pointer", "u32", "i32"], result: "i32" },
  recvmmsg: { parameters: ["i32", "pointer", "u32", "i32", "pointer"], result: "i32" },
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  __errno_location: { parameters: [], result: "pointer" },
} as const;

/** Where libc may be: glibc first, then musl under its own name. */
const LIBRARIES = [
  "libc.so.6",
  `libc.musl-${Deno.build.arch}.so.1`,
  `/lib/ld-musl-${Deno.build.arch}.so.1`,
];

/** libc's functions, each answering as in its manual page. */
export type Libc = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

/** What {@linkcode loadLibc} gives. */
export interface LoadedLibc {
  readonly call: Libc;
  /** The reason of the last call that failed, on this thread. */
  errno(): number;
}

let loaded: LoadedLibc | null | undefined;

/**
 * libc, or `undefined` where there is none for us: another system, another layout, or no permission to use FFI.
 * Loaded once; it stays for the life of the process.
 */
export function loadLibc(): LoadedLibc | undefined {
  if (loaded === undefined) loaded = tryLoad() ?? null;
  return loaded ?? undefined;
}

function tryLoad(): LoadedLibc | undefined {
  const call = openLibc(SYMBOLS);
  const location = call?.__errno_location();
  if (!call || !location) return undefined;
  // errno lives at one address per thread, and an isolate stays on its thread.
  const errno = new Int32Array(Deno.UnsafePointerView.getArrayBuffer(location, 4));
  return { call, errno: () => errno[0]! };
}

/** Functions of libc, for whoever needs others than {@linkcode loadLibc} has; `undefined` as there. */
export function openLibc<const S extends Deno.ForeignLibraryInterface>(
  symbols: S,
): Deno.DynamicLibrary<S>["symbols"] | undefined {
  if (Deno.build.os !== "linux") return undefined;
  if (Deno.build.arch !== "x86_64" && Deno.build.arch !== "aarch64") return undefined;
  for (const name of LIBRARIES) {
    try {
      return Deno.dlopen(name, symbols).symbols;
    } catch {
      // Not under this name, or not permitted: the portable way serves.
    }
  }
  return undefined;
}

/** `errno` values (asm-generic/errno.h: the same on x86_64 and aarch64). */
export const Errno = { EINTR: 4, EIO: 5, EAGAIN: 11, EINVAL: 22, EMSGSIZE: 90 } as const;

/** Flags of sendmsg and recvmmsg: never wait. */
export const MSG_DONTWAIT = 0x40;

/** Socket options: `[level, name]` (asm-generic/socket.h, linux/in.h, linux/in6.h, linux/udp.h). */
export const SocketOption = {
  REUSEADDR: [1, 2],
  TYPE: [1, 3],
  SNDBUF: [1, 7],
  RCVBUF: [1, 8],
  SNDBUFFORCE: [1, 32],
  RCVBUFFORCE: [1, 33],
  IP_MTU_DISCOVER: [0, 10],
  IPV6_MTU_DISCOVER: [41, 23],
  IPV6_V6ONLY: [41, 26],
  UDP_SEGMENT: [17, 103],
} as const;

/** One of {@linkcode SocketOption}. */
export type SocketOptionName = readonly [level: number, name: number];

/** IP_PMTUDISC_PROBE: set DF, and do not let the kernel's own idea of the path MTU refuse a datagram (ip(7)). */
export const PMTUDISC_PROBE = 3;

/** Sets an integer option; `false` where the kernel refuses. */
export function setOption(
  libc: LoadedLibc,
  fd: number,
  name: SocketOptionName,
  value: number,
): boolean {
  return libc.call.setsockopt(fd, name[0], name[1], new Int32Array([value]), 4) === 0;
}

/** Reads an integer option; `undefined` where the kernel refuses. */
export function getOption(
  libc: LoadedLibc,
  fd: number,
  name: SocketOptionName,
): number | undefined {
  const value = new Int32Array(1);
  const size = new Uint32Array([4]);
  return libc.call.getsockopt(fd, name[0], name[1], value, size) === 0 ? value[0] : undefined;
}

/** Memory whose address is known: what structures are laid into. */
export class NativeMemory {
  readonly bytes: Bytes;
  readonly view: DataView<ArrayBuffer>;
  readonly pointer: Deno.PointerObject;
  /** Its address as a number: user space is below 2^47 (2^48 on aarch64), so a double holds it exactly. */
  readonly address: number;

  /** @param size bytes; more than 64, so that the engine never keeps them inside a movable object */
  constructor(size: number) {
    this.bytes = new Uint8Array(new ArrayBuffer(size));
    this.view = new DataView(this.bytes.buffer);
    const pointer = Deno.UnsafePointer.of(this.bytes);
    if (pointer === null) throw new RangeError(`Cannot get the address of ${size} bytes`);
    this.pointer = pointer;
    this.address = Number(Deno.UnsafePointer.value(pointer));
  }

  /** The pointer to byte `offset`. */
  at(offset: number): Deno.PointerObject {
    return Deno.UnsafePointer.create(BigInt(this.address + offset))!;
  }

  /** Writes a 64-bit number (a pointer, a size) of at most 2^53 at `offset`. */
  writeLong(offset: number, value: number): void {
    this.view.setUint32(offset, value >>> 0, true);
    this.view.setUint32(offset + 4, value / 2 ** 32, true);
  }
}

const addresses = new WeakMap<ArrayBufferLike, number>();

/** The address of `data`'s first byte. Asking costs 200 ns, remembering it per buffer 10 ns. */
export function addressOfBytes(data: Uint8Array): number {
  const { buffer } = data;
  let address = addresses.get(buffer);
  if (address === undefined) {
    const pointer = Deno.UnsafePointer.of(new Uint8Array(buffer as ArrayBuffer));
    address = Number(Deno.UnsafePointer.value(pointer));
    addresses.set(buffer, address);
  }
  return address + data.byteOffset;
}

/**
 * `struct mmsghdr` (64 bytes): a `msghdr` and the length that the kernel answers.
 *
 * ```text
 *  0 name*[8]   8 namelen[4] pad[4]   16 iov*[8]   24 iovlen[8]
 * 32 control*[8]  40 controllen[8]    48 flags[4] pad[4]   56 len[4] pad[4]
 * ```
 */
export const MMSGHDR = {
  SIZE: 64,
  NAME: 0,
  NAME_LENGTH: 8,
  IOV: 16,
  IOV_COUNT: 24,
  CONTROL: 32,
  CONTROL_LENGTH: 40,
  FLAGS: 48,
  LENGTH: 56,
} as const;

/** `struct iovec` (16 bytes): base*[8] length[8]. */
export const IOVEC_SIZE = 16;

/** A control message that carries one u16: header (length[8] level[4] type[4]) and the value, padded to 24 bytes. */
export const CMSG_U16_SIZE = 24;
