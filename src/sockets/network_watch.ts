/**
 * Tells at once when interfaces, addresses or routes of this machine change, or its wall clock, as it does when the machine wakes
 * up; and how it would reach an address now.
 *
 * Linux says so on a netlink socket (rtnetlink(7)), and on a timer that a jump of the clock cancels (timerfd_create(2): where a
 * machine sleeps, other timers stand still, and are late by what was left of them). A thread of Deno's pool waits for it in `poll`, so that nothing is asked and
 * nothing is spent while nothing changes; a pipe wakes it for the end. Elsewhere somebody has to look now and then.
 * @module
 */
import type { Address } from "../core/mod.ts";
import { MSG_DONTWAIT, openLibc } from "./libc.ts";
import { decodeSockaddr, encodeSockaddr } from "./sockaddr.ts";

const SYMBOLS = {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  timerfd_create: { parameters: ["i32", "i32"], result: "i32" },
  timerfd_settime: { parameters: ["i32", "i32", "buffer", "pointer"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  recv: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
  pipe2: { parameters: ["buffer", "i32"], result: "i32" },
  poll: { parameters: ["buffer", "usize", "i32"], result: "i32", nonblocking: true },
  close: { parameters: ["i32"], result: "i32" },
} as const;

type Libc = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

const [AF_INET, AF_INET6, AF_NETLINK] = [2, 10, 16];
const [SOCK_DGRAM, SOCK_RAW, SOCK_CLOEXEC] = [2, 3, 0o2000000];
const O_CLOEXEC = SOCK_CLOEXEC;
const O_NONBLOCK = 0o4000;
/** Groups of rtnetlink: links, addresses and routes of both families. */
const GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
const POLLIN = 1;
const CLOCK_REALTIME = 0;
/** `TFD_TIMER_ABSTIME` and `TFD_TIMER_CANCEL_ON_SET`. */
const UNTIL_SET = 1 | 2;
/** When the timer would be over by itself, in seconds since 1970: never. */
const NEVER = 0xff_ffff_ffffn;
/** Messages read before all of them count as one change: they come in bursts of some ten. */
const MAX_READS = 256;

let libc: Libc | null | undefined;

function load(): Libc | undefined {
  libc ??= openLibc(SYMBOLS) ?? null;
  return libc ?? undefined;
}

/** A watch that runs. */
export interface NetworkWatch {
  /** Ends it; idempotent. */
  close(): void;
}

/** The descriptor of a timer that is readable once the wall clock has jumped; -1: there is none, and poll leaves it out. */
function openClockWatch(call: Libc): number {
  const fd = call.timerfd_create(CLOCK_REALTIME, SOCK_CLOEXEC | O_NONBLOCK);
  // struct itimerspec: interval seconds[8] nanoseconds[8], first seconds[8] nanoseconds[8]
  const setting = new DataView(new ArrayBuffer(32));
  setting.setBigInt64(16, NEVER, true);
  if (fd < 0 || call.timerfd_settime(fd, UNTIL_SET, new Uint8Array(setting.buffer), null) === 0) {
    return fd;
  }
  call.close(fd);
  return -1;
}

/**
 * Calls `changed` soon after each change, at most once per turn of the event loop; `undefined` where this system does not
 * tell. The watch keeps the process alive until it is closed.
 */
export function watchNetwork(changed: () => void): NetworkWatch | undefined {
  const call = load();
  if (!call) return undefined;
  const fd = call.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (fd < 0) return undefined;
  // struct sockaddr_nl: family[2] pad[2] pid[4] groups[4]
  const address = new DataView(new ArrayBuffer(12));
  address.setUint16(0, AF_NETLINK, true);
  address.setUint32(8, GROUPS, true);
  const pipe = new Int32Array(2);
  if (
    call.bind(fd, new Uint8Array(address.buffer), 12) !== 0 || call.pipe2(pipe, O_CLOEXEC) !== 0
  ) {
    call.close(fd);
    return undefined;
  }
  const [readEnd, writeEnd] = pipe as unknown as [number, number];
  let closed = false;
  void (async () => {
    const clock = openClockWatch(call);
    // struct pollfd: fd[4] events[2] revents[2]
    const waiting = new DataView(new ArrayBuffer(24));
    waiting.setInt32(0, fd, true);
    waiting.setInt16(4, POLLIN, true);
    waiting.setInt32(8, readEnd, true);
    waiting.setInt32(16, clock, true);
    waiting.setInt16(20, POLLIN, true);
    const message = new Uint8Array(8192);
    while (!closed) {
      await call.poll(new Uint8Array(waiting.buffer), 3n, -1);
      if (closed) break;
      // ECANCELED, which arms it anew.
      if (clock >= 0) call.read(clock, message, 8n);
      // What is lost of a burst (ENOBUFS) is a change like any other.
      for (let i = 0; i < MAX_READS; i++) {
        if (call.recv(fd, message, BigInt(message.length), MSG_DONTWAIT) < 0n) break;
      }
      changed();
    }
    call.close(fd);
    call.close(readEnd);
    if (clock >= 0) call.close(clock);
  })();
  return {
    close() {
      if (closed) return;
      closed = true;
      // The pipe's other end hears that it is hung up.
      call.close(writeEnd);
    },
  };
}

/**
 * The address of this machine from which it would reach `peer` just now, as text; null: there is no way, not even a default
 * route. `undefined` where this system does not tell. Sends nothing.
 */
export function sourceTowards(peer: Address): string | null | undefined {
  const call = load();
  if (!call) return undefined;
  const fd = call.socket(peer.family === 4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  // No IPv6 in this kernel, say.
  if (fd < 0) return null;
  try {
    const name = encodeSockaddr(peer, peer.family)!;
    if (call.connect(fd, name, name.length) !== 0) return null;
    const own = new Uint8Array(28);
    const size = new Uint32Array([own.length]);
    if (call.getsockname(fd, own, size) !== 0) return undefined;
    return decodeSockaddr(own.subarray(0, size[0]))?.host;
  } finally {
    call.close(fd);
  }
}
