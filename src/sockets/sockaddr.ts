/**
 * `struct sockaddr_in` and `sockaddr_in6` as Linux lays them out (little-endian machines), to and from {@linkcode Address}.
 * Pure: no I/O.
 *
 * ```text
 * sockaddr_in  (16)  family[2, host order] port[2, big-endian] address[4] zero[8]
 * sockaddr_in6 (28)  family[2, host order] port[2, big-endian] flow[4] address[16] scope[4]
 * ```
 * @module
 */
import { type Address, addressOf, type Bytes } from "../core/mod.ts";

const AF_INET = 2;
const AF_INET6 = 10;
const SIZE_V4 = 16;
const SIZE_V6 = 28;

/** Bytes kept for one address of either family: 28, rounded up so that each starts on a word. */
export const SOCKADDR_SLOT = 32;

/**
 * The sixteen bytes of an IPv6 address, or of an IPv4 one as IPv4-mapped (RFC 4291 §2.5.5.2).
 *
 * @param host canonical text, as in {@linkcode Address}
 */
function hostBytes(host: string, family: 4 | 6): Uint8Array {
  const bytes = new Uint8Array(16);
  if (family === 4) {
    bytes.fill(0xff, 10, 12);
    host.split(".").forEach((part, i) => bytes[12 + i] = Number(part));
    return bytes;
  }
  const [head = "", tail] = host.split("::");
  const words = (text: string) =>
    text === "" ? [] : text.split(":").map((word) => parseInt(word, 16));
  const first = words(head);
  const last = tail === undefined ? [] : words(tail);
  first.forEach((word, i) => writeWord(bytes, i, word));
  last.forEach((word, i) => writeWord(bytes, 8 - last.length + i, word));
  return bytes;
}

function writeWord(bytes: Uint8Array, index: number, word: number): void {
  bytes[2 * index] = word >> 8;
  bytes[2 * index + 1] = word & 0xff;
}

/** The `sockaddr` of `address` for a socket of family `socketFamily`; `undefined`: that socket cannot reach it. */
export function encodeSockaddr(address: Address, socketFamily: 4 | 6): Bytes | undefined {
  if (socketFamily === 4 && address.family === 6) return undefined;
  const bytes = new Uint8Array(socketFamily === 4 ? SIZE_V4 : SIZE_V6);
  bytes[0] = socketFamily === 4 ? AF_INET : AF_INET6;
  bytes[2] = address.port >> 8;
  bytes[3] = address.port & 0xff;
  const host = hostBytes(address.host, address.family);
  if (socketFamily === 4) bytes.set(host.subarray(12), 4);
  else bytes.set(host, 8);
  return bytes;
}

/** Reads a `sockaddr`; `undefined` where it is neither IPv4 nor IPv6, or cut short. Flow label and scope are left aside. */
export function decodeSockaddr(bytes: Uint8Array): Address | undefined {
  if (bytes.length < 4) return undefined;
  const family = bytes[0]! | bytes[1]! << 8;
  const port = bytes[2]! << 8 | bytes[3]!;
  if (family === AF_INET && bytes.length >= 8) {
    return addressOf(`${bytes[4]}.${bytes[5]}.${bytes[6]}.${bytes[7]}`, port);
  }
  if (family === AF_INET6 && bytes.length >= 24) {
    const words: string[] = [];
    for (let i = 8; i < 24; i += 2) words.push((bytes[i]! << 8 | bytes[i + 1]!).toString(16));
    // Interned under its canonical text, so that it is the very object that others have.
    return addressOf(addressOf(words.join(":"), port).host, port);
  }
  return undefined;
}

/** What Deno says about a peer. IPv4-mapped text is cut here, so that the answer is the object that others have. */
export function addressOfPeer({ hostname, port }: Deno.NetAddr): Address {
  const mapped = hostname.startsWith("::ffff:") && hostname.includes(".");
  return addressOf(mapped ? hostname.slice(7) : hostname, port);
}

/** Peers whose raw bytes are remembered: as many as {@linkcode addressOf} interns. When full the table starts anew. */
const MAX_CACHED = 4096;

/**
 * From raw bytes to the interned {@linkcode Address} without making text again for each datagram: hundreds of
 * thousands of datagrams a second come from a handful of peers.
 *
 * Reads slots of {@linkcode SOCKADDR_SLOT} bytes in one buffer that the kernel fills.
 */
export class SockaddrReader {
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  #known = new Map<number, { words: Int32Array; address: Address }[]>();
  #size = 0;

  constructor(slots: Bytes) {
    this.#bytes = slots;
    this.#words = new Int32Array(slots.buffer, slots.byteOffset, slots.length >> 2);
  }

  /** Whether two slots hold the same IPv6 or IPv4 address and port (`size` bytes of each count). */
  same(slotA: number, slotB: number, size: number): boolean {
    const words = this.#words;
    const a = slotA * (SOCKADDR_SLOT >> 2);
    const b = slotB * (SOCKADDR_SLOT >> 2);
    for (let i = 0; i < size >> 2; i++) if (words[a + i] !== words[b + i]) return false;
    return true;
  }

  /** The address in slot `slot`, of `size` bytes as the kernel said; `undefined` where it is none that we know. */
  at(slot: number, size: number): Address | undefined {
    const words = this.#words;
    const start = slot * (SOCKADDR_SLOT >> 2);
    const count = Math.min(size, SOCKADDR_SLOT) >> 2;
    let hash = count;
    for (let i = 0; i < count; i++) {
      hash = Math.imul(hash ^ words[start + i]!, 0x9e3779b1) ^ hash >>> 15;
    }
    const bucket = this.#known.get(hash);
    if (bucket) {
      for (const entry of bucket) {
        if (entry.words.length === count && entry.words.every((w, i) => w === words[start + i])) {
          return entry.address;
        }
      }
    }
    const address = decodeSockaddr(
      this.#bytes.subarray(
        slot * SOCKADDR_SLOT,
        slot * SOCKADDR_SLOT + Math.min(size, SOCKADDR_SLOT),
      ),
    );
    if (!address) return undefined;
    if (this.#size >= MAX_CACHED) {
      this.#known = new Map();
      this.#size = 0;
    }
    this.#size++;
    const entry = { words: words.slice(start, start + count), address };
    const list = this.#known.get(hash);
    if (list) list.push(entry);
    else this.#known.set(hash, [entry]);
    return address;
  }
}
