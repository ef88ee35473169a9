/**
 * One UDP flow at one end of a tunnel. Packets that fit the path are DATAGRAMs: lost where the path loses them, late for
 * nobody. Those that are too large go on the flow's stream, which also says when the flow is over: either end finishes its
 * side, and the other follows.
 *
 * What a flow may hold here: {@linkcode MAX_BACKLOG_BYTES} of large packets that the stream has not taken, and
 * {@linkcode MAX_WAITING_BYTES} that came before this end has its socket. What exceeds that is dropped and counted, as a
 * full queue of a router would.
 * @module
 */
import { messageOf } from "../core/mod.ts";
import { type QuicStream, STREAM_END } from "../quic/mod.ts";
import { borrowBuffer, returnBuffer } from "./buffer_pool.ts";
import type { FlowEnd, FlowInfo } from "./flow_end.ts";
import { discard } from "./tcp_pipe.ts";
import {
  encodeFlowId,
  encodeStreamPacket,
  MAX_UDP_PACKET,
  StreamPackets,
} from "./udp_packet_codec.ts";

/** Large packets that wait for the stream, in bytes: four of the largest. */
const MAX_BACKLOG_BYTES = 256 * 1024;

/** Packets that came before somebody takes them, in bytes: a first flight. */
const MAX_WAITING_BYTES = 64 * 1024;

/** Milliseconds without a packet after which a flow is over (RFC 4787 REQ-5: not below two minutes). */
export const UDP_IDLE = 120_000;

/** The same for a flow that saw one question and its answer, as DNS does: its port is not used again. */
export const UDP_IDLE_AFTER_EXCHANGE = 30_000;

/** A UDP flow as whoever opened it sees it: packets both ways, none of them reliable. */
export interface UdpFlow {
  /** False where the packet was dropped as there is no room. The bytes may be reused after the call. */
  send(packet: Uint8Array): boolean;
  /** Called for each packet that comes back; the array is reused. */
  onPacket: ((packet: Uint8Array) => void) | undefined;
  /** Called once when the flow has ended at the other side, or for want of packets. */
  onClose: ((reason: string) => void) | undefined;
  /** Ends it; idempotent. */
  close(): void;
}

/** The socket side of a flow at the connector: bound to one target. */
export interface PacketConn {
  /** Sends one packet to the target; lost where the system has no room. The bytes may be reused after the call. */
  send(packet: Uint8Array): void;
  /** Starts receiving; called once. `take` gets packets of the target only; the array is reused. */
  receive(take: (packet: Uint8Array) => void): void;
  close(): void;
}

/** What a UDP flow needs of whoever keeps it. */
export interface UdpFlowHost {
  /** Sends as a DATAGRAM. */
  sendDatagram(prefix: Uint8Array, packet: Uint8Array): "sent" | "too-large" | "no-room";
  dropped(why: "backlog" | "waiting"): void;
  /** It takes and gives no more packets. */
  flowClosed(flow: UdpFlowEnd): void;
  /** Its stream is over, too. */
  flowEnded(flow: UdpFlowEnd): void;
}

/** One end of a UDP flow. */
export class UdpFlowEnd implements FlowEnd, UdpFlow {
  readonly kind = "udp";
  readonly stream: QuicStream;
  readonly info: FlowInfo;
  readonly openedAt: number = performance.now();
  onClose: ((reason: string) => void) | undefined;
  bytesIn = 0;
  bytesOut = 0;
  readonly #host: UdpFlowHost;
  readonly #prefix: Uint8Array;
  #usedAt = this.openedAt;
  #packetsIn = 0;
  #packetsOut = 0;
  #onPacket: ((packet: Uint8Array) => void) | undefined;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  /** What the stream has not taken yet. */
  #backlog: Uint8Array[] = [];
  #backlogBytes = 0;
  #conn: PacketConn | undefined;
  #carried: boolean;
  #closed = false;

  constructor(
    stream: QuicStream,
    info: FlowInfo,
    host: UdpFlowHost,
    options: { opener: boolean },
  ) {
    this.stream = stream;
    this.info = info;
    this.#host = host;
    this.#carried = options.opener;
    this.#prefix = encodeFlowId(stream.id);
  }

  get id(): number {
    return this.stream.id;
  }

  get carried(): boolean {
    return this.#carried;
  }

  /** Never: what cannot go on is dropped. */
  get stalledBy(): null {
    return null;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** `performance.now()` of the last packet, either way. */
  get usedAt(): number {
    return this.#usedAt;
  }

  /** Milliseconds without a packet that this flow may last. */
  get idleLimit(): number {
    const { min, max } = Math;
    const exchange = min(this.#packetsIn, this.#packetsOut) === 1 &&
      max(this.#packetsIn, this.#packetsOut) <= 2;
    return exchange ? UDP_IDLE_AFTER_EXCHANGE : UDP_IDLE;
  }

  get onPacket(): ((packet: Uint8Array) => void) | undefined {
    return this.#onPacket;
  }

  /** Packets that came before are handed over at once. */
  set onPacket(take: ((packet: Uint8Array) => void) | undefined) {
    this.#onPacket = take;
    if (!take) return;
    this.#waitingBytes = 0;
    for (const packet of this.#waiting.splice(0)) take(packet);
  }

  send(packet: Uint8Array): boolean {
    if (this.#closed || packet.length > MAX_UDP_PACKET) return false;
    let result = this.#host.sendDatagram(this.#prefix, packet);
    if (result === "too-large") {
      result = this.writeStream(encodeStreamPacket(packet)) ? "sent" : "no-room";
    }
    if (result !== "sent") return false;
    this.#usedAt = performance.now();
    this.#packetsOut++;
    this.bytesOut += packet.length;
    return true;
  }

  /** A packet came out of the tunnel. */
  deliver(packet: Uint8Array): void {
    if (this.#closed) return;
    this.#usedAt = performance.now();
    this.#packetsIn++;
    this.bytesIn += packet.length;
    if (this.#onPacket) this.#onPacket(packet);
    else if (this.#waitingBytes + packet.length > MAX_WAITING_BYTES) this.#host.dropped("waiting");
    else {
      this.#waitingBytes += packet.length;
      this.#waiting.push(packet.slice());
    }
  }

  /** Writes all of `bytes` to the stream, in order, now or when it takes them; false (and nothing is) where too much waits. */
  writeStream(bytes: Uint8Array): boolean {
    if (this.#backlogBytes + bytes.length > MAX_BACKLOG_BYTES) {
      this.#host.dropped("backlog");
      return false;
    }
    const idle = this.#backlog.length === 0;
    const taken = idle ? this.stream.write(bytes) : 0;
    if (taken === bytes.length) return true;
    this.#backlog.push(taken === 0 ? bytes : bytes.subarray(taken));
    this.#backlogBytes += bytes.length - taken;
    if (idle) void this.#drain();
    return true;
  }

  /** Acceptor: joins the flow to its socket, which it owns from now on. */
  attach(conn: PacketConn): void {
    if (this.#closed) return conn.close();
    this.#conn = conn;
    this.#carried = true;
    conn.receive((packet) => void this.send(packet));
    this.onPacket = (packet) => conn.send(packet);
  }

  /**
   * Reads the stream to its end, which is the flow's. `first`: what was read already; where it rejects, the other end has
   * refused the flow.
   */
  async run(first: Promise<Uint8Array>): Promise<void> {
    const packets = new StreamPackets();
    const deliver = (packet: Uint8Array) => this.deliver(packet);
    let why = "the other end has closed it";
    try {
      packets.push(await first, deliver);
      for (let ended = false; !ended;) {
        await this.stream.readable();
        const buffer = borrowBuffer();
        try {
          for (;;) {
            const length = this.stream.read(buffer);
            if (length > 0) packets.push(buffer.subarray(0, length), deliver);
            else {
              ended = length === STREAM_END;
              break;
            }
          }
        } finally {
          returnBuffer(buffer);
        }
      }
      if (this.stream.dead) why = "the tunnel has ended";
    } catch (error) {
      why = messageOf(error);
      this.#close(why);
      await discard(this.stream);
    }
    this.#close(why);
    this.#host.flowEnded(this);
  }

  close(): void {
    this.#close(undefined);
  }

  /** Nothing has come or gone for too long. */
  expire(): void {
    this.#close("nothing was sent for too long");
  }

  abort(): void {
    this.#close("it was aborted");
  }

  peerAborted(): void {
    this.#close("the other end has aborted it");
  }

  /** The stream's own end follows: our side is finished here, and {@linkcode run} reads the other's. */
  #close(reason: string | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#waiting = [];
    // What waits goes first: it may be the header, or the answer that says why.
    if (this.#backlog.length === 0) this.stream.finish();
    this.#conn?.close();
    this.#host.flowClosed(this);
    if (reason !== undefined) this.onClose?.(reason);
  }

  async #drain(): Promise<void> {
    while (this.#backlog.length > 0) {
      await this.stream.writable();
      const bytes = this.#backlog[0]!;
      const taken = this.stream.write(bytes);
      this.#backlogBytes -= taken;
      if (taken === bytes.length) this.#backlog.shift();
      else this.#backlog[0] = bytes.subarray(taken);
    }
    if (this.#closed) this.stream.finish();
  }
}
