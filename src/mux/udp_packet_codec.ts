/**
 * How a UDP flow's packets travel in a tunnel.
 *
 * ```
 * fits the path   DATAGRAM   flow's stream id (RFC 9000 §16 varint), payload
 * too large       STREAM     length[2] payload, on the flow's stream behind header or answer
 * ```
 * @module
 */

/** Longest payload, in bytes: what the length's two bytes can say; UDP over IPv4 carries 65,507. */
export const MAX_UDP_PACKET = 65_535;

/** The varint (RFC 9000 §16) of a stream's id, in as few bytes as it takes. */
export function encodeFlowId(id: number): Uint8Array {
  if (id < 0x40) return Uint8Array.of(id);
  if (id < 0x4000) return Uint8Array.of(0x40 | id >> 8, id & 0xff);
  const bytes = new Uint8Array(id < 0x4000_0000 ? 4 : 8);
  const view = new DataView(bytes.buffer);
  if (bytes.length === 4) view.setUint32(0, (0x8000_0000 | id) >>> 0);
  else view.setBigUint64(0, 0xc000_0000_0000_0000n | BigInt(id));
  return bytes;
}

/** Which flow a DATAGRAM is for, and where its payload begins; `undefined` where it is none of ours. Total. */
export function decodeFlowId(datagram: Uint8Array): { id: number; length: number } | undefined {
  if (datagram.length === 0) return undefined;
  const length = 1 << (datagram[0]! >> 6);
  if (datagram.length < length) return undefined;
  let id = datagram[0]! & 0x3f;
  for (let i = 1; i < length; i++) id = id * 256 + datagram[i]!;
  return Number.isSafeInteger(id) ? { id, length } : undefined;
}

/** A packet as it travels on the flow's stream. At most {@linkcode MAX_UDP_PACKET} bytes. */
export function encodeStreamPacket(packet: Uint8Array): Uint8Array {
  const framed = new Uint8Array(2 + packet.length);
  framed[0] = packet.length >> 8;
  framed[1] = packet.length & 0xff;
  framed.set(packet, 2);
  return framed;
}

/** Cuts a stream's bytes into packets again. Holds one packet at most (64 KiB), and nothing between packets. */
export class StreamPackets {
  #length: number | undefined;
  #high: number | undefined;
  #packet: Uint8Array | undefined;
  #have = 0;

  /** Takes the stream's next bytes and hands on each packet that they complete, good only during the call. */
  push(bytes: Uint8Array, take: (packet: Uint8Array) => void): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.#length === undefined) {
        const byte = bytes[at++]!;
        if (this.#high === undefined) {
          this.#high = byte;
          continue;
        }
        this.#length = this.#high << 8 | byte;
        this.#high = undefined;
        if (this.#length > 0) continue;
        this.#length = undefined;
        take(new Uint8Array(0));
        continue;
      }
      const missing = this.#length - this.#have;
      const part = bytes.subarray(at, at + missing);
      at += part.length;
      if (this.#have === 0 && part.length === missing) {
        this.#length = undefined;
        take(part);
        continue;
      }
      this.#packet ??= new Uint8Array(this.#length);
      this.#packet.set(part, this.#have);
      this.#have += part.length;
      if (part.length < missing) continue;
      const whole = this.#packet;
      this.#packet = this.#length = undefined;
      this.#have = 0;
      take(whole);
    }
  }
}
