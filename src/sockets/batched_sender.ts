/**
 * Sends trains with as few system calls as Linux allows: `sendmsg` with UDP_SEGMENT (one call for up to 64 datagrams,
 * straight from the caller's buffer), or `sendmmsg` where the kernel cannot segment.
 * @module
 */
import type { Address } from "../core/mod.ts";
import {
  addressOfBytes,
  CMSG_U16_SIZE,
  Errno,
  IOVEC_SIZE,
  type LoadedLibc,
  MMSGHDR,
  MSG_DONTWAIT,
  NativeMemory,
  SocketOption,
} from "./libc.ts";
import { encodeSockaddr, SOCKADDR_SLOT } from "./sockaddr.ts";
import { datagramsIn } from "./train.ts";
import type { UdpCounters } from "./udp_socket.ts";

/** Segments in one call: UDP_MAX_SEGMENTS of linux/udp.h (128 since 6.9, 64 before). A longer train is split. */
const MAX_SEGMENTS = 64;

/** Payload of one call, segments together: the largest IPv4 datagram (65,535 less IP and UDP headers). */
const MAX_BYTES = 65_507;

/** Messages in one `sendmmsg`. */
const MAX_MESSAGES = 64;

/** `errno` values after which the train goes datagram by datagram, to learn which of them cannot go. */
const TRAIN_REFUSED: ReadonlySet<number> = new Set([Errno.EIO, Errno.EINVAL, Errno.EMSGSIZE]);

// Where each structure lies in the one block of memory.
const NAME = 0;
const CONTROL = NAME + SOCKADDR_SLOT;
const HEADERS = CONTROL + 32;
const IOVECS = HEADERS + MAX_MESSAGES * MMSGHDR.SIZE;
const TOTAL = IOVECS + MAX_MESSAGES * IOVEC_SIZE;

/** The sending half of a batched socket. */
export class BatchedSender {
  readonly #libc: LoadedLibc;
  readonly #fd: number;
  readonly #family: 4 | 6;
  readonly #counters: UdpCounters;
  readonly #memory = new NativeMemory(TOTAL);
  readonly #headers = this.#memory.at(HEADERS);
  /** Encoded addresses, for as long as somebody holds the address itself. */
  readonly #names = new WeakMap<Address, Uint8Array>();
  /** Whose name lies in the header now. */
  #named: Address | undefined;
  #segmentation: boolean;

  /**
   * @param family of the socket: 6 also sends to IPv4
   * @param segmentation `false`: as if the kernel had no UDP_SEGMENT
   */
  constructor(
    libc: LoadedLibc,
    socket: { fd: number; family: 4 | 6; counters: UdpCounters; segmentation?: boolean },
  ) {
    this.#libc = libc;
    this.#fd = socket.fd;
    this.#family = socket.family;
    this.#counters = socket.counters;
    this.#segmentation = socket.segmentation ?? true;
    const { view } = this.#memory;
    const control = CONTROL;
    view.setUint32(control, CMSG_U16_SIZE - 6, true); // cmsg_len: the header and two bytes
    view.setInt32(control + 8, SocketOption.UDP_SEGMENT[0], true);
    view.setInt32(control + 12, SocketOption.UDP_SEGMENT[1], true);
    for (let i = 0; i < MAX_MESSAGES; i++) {
      const header = HEADERS + i * MMSGHDR.SIZE;
      this.#memory.writeLong(header + MMSGHDR.NAME, this.#memory.address + NAME);
      this.#memory.writeLong(header + MMSGHDR.IOV, this.#memory.address + IOVECS + i * IOVEC_SIZE);
      this.#memory.writeLong(header + MMSGHDR.IOV_COUNT, 1);
      this.#memory.writeLong(header + MMSGHDR.CONTROL, this.#memory.address + CONTROL);
    }
  }

  /** Whether trains still leave through UDP_SEGMENT. */
  get segmentation(): boolean {
    return this.#segmentation;
  }

  /** As {@linkcode UdpSocket.send}. */
  send(to: Address, data: Uint8Array, segmentSize: number): number {
    const { length } = data;
    if (!this.#setName(to)) {
      this.#countLost(datagramsIn(length, segmentSize));
      return length;
    }
    const base = addressOfBytes(data);
    const perCall = Math.min(MAX_SEGMENTS, Math.floor(MAX_BYTES / segmentSize)) * segmentSize;
    let offset = 0;
    while (offset < length) {
      const end = perCall === 0 ? length : Math.min(length, offset + perCall);
      if (!this.#segmentation || perCall === 0 || end - offset <= segmentSize) {
        const stop = this.#sendSingly(base, offset, length, segmentSize);
        if (stop < length) return stop;
        break;
      }
      const errno = this.#sendTrain(base + offset, end - offset, segmentSize);
      if (errno === Errno.EAGAIN) return offset;
      if (errno === 0) {
        this.#countSent(datagramsIn(end - offset, segmentSize), end - offset);
      } else if (TRAIN_REFUSED.has(errno)) {
        const stop = this.#sendRefusedTrain(base, offset, end, segmentSize, errno);
        if (stop < end) return stop;
      } else {
        this.#countLost(datagramsIn(end - offset, segmentSize));
      }
      offset = end;
    }
    return length;
  }

  /** One call with UDP_SEGMENT; answers 0 or errno. */
  #sendTrain(address: number, length: number, segmentSize: number): number {
    const { view } = this.#memory;
    this.#memory.writeLong(IOVECS, address);
    view.setUint32(IOVECS + 8, length, true);
    view.setUint16(CONTROL + 16, segmentSize, true);
    view.setUint32(HEADERS + MMSGHDR.CONTROL_LENGTH, CMSG_U16_SIZE, true);
    return this.#sendmsg();
  }

  #sendmsg(): number {
    for (;;) {
      if (this.#libc.call.sendmsg(this.#fd, this.#headers, MSG_DONTWAIT) >= 0) return 0;
      const errno = this.#libc.errno();
      if (errno === Errno.EAGAIN) this.#counters.sendBlocked++;
      if (errno !== Errno.EINTR) return errno;
    }
  }

  /**
   * A refused train, datagram by datagram. EINVAL and EIO may mean that this kernel or device cannot segment, or only
   * that a segment is too large for the interface: if the first one leaves when it is alone, it was the former.
   */
  #sendRefusedTrain(
    base: number,
    offset: number,
    end: number,
    segmentSize: number,
    errno: number,
  ): number {
    const before = this.#counters.datagramsOut;
    const stop = this.#sendSingly(base, offset, offset + segmentSize, segmentSize);
    if (stop === offset) return stop;
    if (errno !== Errno.EMSGSIZE && this.#counters.datagramsOut > before) {
      this.#segmentation = false;
    }
    return this.#sendSingly(base, offset + segmentSize, end, segmentSize);
  }

  /** Sends `offset` to `end` without UDP_SEGMENT; answers where it stopped. */
  #sendSingly(base: number, offset: number, end: number, segmentSize: number): number {
    const { view } = this.#memory;
    while (offset < end) {
      let count = 0;
      for (let at = offset; at < end && count < MAX_MESSAGES; at += segmentSize, count++) {
        const iovec = IOVECS + count * IOVEC_SIZE;
        this.#memory.writeLong(iovec, base + at);
        view.setUint32(iovec + 8, Math.min(segmentSize, end - at), true);
      }
      view.setUint32(HEADERS + MMSGHDR.CONTROL_LENGTH, 0, true);
      let sent = 1;
      let errno = 0;
      if (count === 1) errno = this.#sendmsg();
      else {
        sent = this.#libc.call.sendmmsg(this.#fd, this.#headers, count, MSG_DONTWAIT);
        if (sent < 0) errno = this.#libc.errno();
        if (errno === Errno.EINTR) continue;
        if (errno === Errno.EAGAIN) this.#counters.sendBlocked++;
      }
      if (errno === Errno.EAGAIN) return offset;
      const bytes = Math.min(end, offset + (errno === 0 ? sent : 1) * segmentSize) - offset;
      if (errno === 0) this.#countSent(sent, bytes);
      else this.#countLost(1);
      offset += bytes;
    }
    return offset;
  }

  #setName(to: Address): boolean {
    if (to === this.#named) return true;
    let name = this.#names.get(to);
    if (!name) {
      name = encodeSockaddr(to, this.#family);
      if (!name) return false;
      this.#names.set(to, name);
    }
    this.#memory.bytes.set(name, NAME);
    if (!this.#named) {
      for (let i = 0; i < MAX_MESSAGES; i++) {
        const header = HEADERS + i * MMSGHDR.SIZE;
        this.#memory.view.setUint32(header + MMSGHDR.NAME_LENGTH, name.length, true);
      }
    }
    this.#named = to;
    return true;
  }

  #countSent(datagrams: number, bytes: number): void {
    this.#counters.datagramsOut += datagrams;
    this.#counters.bytesOut += bytes;
  }

  #countLost(datagrams: number): void {
    this.#counters.sendErrors += datagrams;
  }
}
