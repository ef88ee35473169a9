/**
 * The UDP flows of one tunnel: which packet is for which, how many there may be, and when they have been idle for too long.
 * @module
 */
import type { QuicConnection } from "../quic/mod.ts";
import { UDP_IDLE, type UdpFlowEnd } from "./udp_flow.ts";
import { decodeFlowId } from "./udp_packet_codec.ts";

/**
 * UDP flows that one tunnel, and so one agent, may have at a time: each is a socket at the connector, within the usual limit
 * of descriptors. Beyond it the one that was idle longest makes room.
 */
export const MAX_UDP_FLOWS = 1024;

/** Milliseconds for which a flow must have been idle to make room for another. */
const EVICTABLE_AFTER = 2_000;

/** Between searches for idle flows, in milliseconds. */
const SWEEP_INTERVAL = 5_000;

/**
 * How much longer the acceptor waits, in milliseconds: the opener, who would otherwise send the next packet to nobody, is
 * the one to end an idle flow.
 */
const ACCEPTOR_GRACE = 10_000;

/** DATAGRAMs kept that came before the stream that names their flow; the oldest give way. */
const MAX_EARLY = 128;
/** Longest that one is kept, in milliseconds: its stream's first packet is on its way, or being sent again. */
const EARLY_AGE = 2_000;

/** Packets that were dropped at this end, by reason. */
export interface UdpDrops {
  /** The engine's queue of DATAGRAMs was full: the path takes less than is sent. */
  queue: number;
  /** Too many large packets waited for a flow's stream. */
  backlog: number;
  /** Came before the flow's socket was there, and too many waited. */
  waiting: number;
  /** For a flow that is over, or that never came. */
  unknown: number;
}

interface Early {
  readonly id: number;
  readonly packet: Uint8Array;
  readonly until: number;
}

/** See the module's head. */
export class UdpFlows {
  readonly drops: UdpDrops = { queue: 0, backlog: 0, waiting: 0, unknown: 0 };
  readonly #connection: QuicConnection;
  readonly #accepts: boolean;
  /** Those that are not closed. */
  readonly #flows = new Map<number, UdpFlowEnd>();
  #early: Early[] = [];
  #sweeper: ReturnType<typeof setInterval> | undefined;
  #scratch = new Uint8Array(2048);
  #lastMax = 0;

  constructor(connection: QuicConnection, options: { accepts: boolean }) {
    this.#connection = connection;
    this.#accepts = options.accepts;
  }

  get size(): number {
    return this.#flows.size;
  }

  /** Is there room for one more? Where there is none, the flow that was idle longest is closed, if it was idle at all. */
  makeRoom(): boolean {
    if (this.#flows.size < MAX_UDP_FLOWS) return true;
    let oldest: UdpFlowEnd | undefined;
    for (const flow of this.#flows.values()) {
      if (!oldest || flow.usedAt < oldest.usedAt) oldest = flow;
    }
    if (!oldest || performance.now() - oldest.usedAt < EVICTABLE_AFTER) return false;
    oldest.expire();
    return true;
  }

  /** A flow is known from now on; packets that came before its stream are handed to it. */
  add(flow: UdpFlowEnd): void {
    this.#flows.set(flow.id, flow);
    this.#sweeper ??= setInterval(() => this.#sweep(), SWEEP_INTERVAL);
    if (this.#early.length === 0) return;
    const now = performance.now();
    const early = this.#early;
    this.#early = early.filter(({ id, until }) => id !== flow.id && until > now);
    for (const { id, packet } of early) if (id === flow.id) flow.deliver(packet);
  }

  remove(flow: UdpFlowEnd): void {
    this.#flows.delete(flow.id);
    if (this.#flows.size > 0) return;
    clearInterval(this.#sweeper);
    this.#sweeper = undefined;
  }

  /** A DATAGRAM came. */
  datagram(data: Uint8Array): void {
    const decoded = decodeFlowId(data);
    if (!decoded) {
      this.drops.unknown++;
      return;
    }
    const packet = data.subarray(decoded.length);
    const flow = this.#flows.get(decoded.id);
    if (flow) flow.deliver(packet);
    else if (!this.#accepts) this.drops.unknown++;
    else this.#keepEarly(decoded.id, packet);
  }

  /** Sends one packet as a DATAGRAM, if the path takes its size. */
  send(prefix: Uint8Array, packet: Uint8Array): "sent" | "too-large" | "no-room" {
    const connection = this.#connection;
    if (connection.closed) return "no-room";
    const length = prefix.length + packet.length;
    const max = connection.maxDatagram();
    // Those that were queued for a wider path would hold up everything behind them.
    if (max < this.#lastMax) connection.purgeDatagrams(max);
    this.#lastMax = max;
    if (length > max) return "too-large";
    if (this.#scratch.length < length) this.#scratch = new Uint8Array(length);
    this.#scratch.set(prefix);
    this.#scratch.set(packet, prefix.length);
    if (connection.sendDatagram(this.#scratch.subarray(0, length))) return "sent";
    this.drops.queue++;
    return "no-room";
  }

  #keepEarly(id: number, packet: Uint8Array): void {
    const now = performance.now();
    if (this.#early.length >= MAX_EARLY) {
      this.#early.shift();
      this.drops.unknown++;
    }
    this.#early.push({ id, packet: packet.slice(), until: now + EARLY_AGE });
  }

  #sweep(): void {
    const now = performance.now();
    const grace = this.#accepts ? ACCEPTOR_GRACE : 0;
    for (const flow of [...this.#flows.values()]) {
      if (now - flow.usedAt > flow.idleLimit + grace) flow.expire();
    }
  }
}

/** The longest that a flow may be idle anywhere, in milliseconds. */
export const MAX_UDP_IDLE = UDP_IDLE + ACCEPTOR_GRACE;
