/**
 * Sorts what arrives on a socket by its first byte. Pure: no I/O.
 *
 * QUIC version 1 sets bit 0x40 in every packet (RFC 9000 §17.2, §17.3; we never grease it, RFC 9287), version
 * negotiation sets 0x80: so a first byte of 0x40 and above is QUIC's, as RFC 9443 sorts it. Below that:
 *
 * | first byte | message |
 * |---|---|
 * | 0x02 | sealed |
 * | 0x03 | observe |
 * | 0x04 | observed |
 * | 0x05 | probe |
 * | 0x06 | probe reply |
 * | 0x07 | stranger |
 * @module
 */
import type { Address } from "../core/mod.ts";
import { datagramsIn } from "./train.ts";
import type { DatagramHandler } from "./udp_socket.ts";

/** What a datagram is, by its first byte. */
export const DATAGRAM_KINDS = [
  "quic",
  "sealed",
  "observe",
  "observed",
  "probe",
  "probeReply",
  "stranger",
  "unknown",
] as const;
/** One of {@linkcode DATAGRAM_KINDS}. */
export type DatagramKind = typeof DATAGRAM_KINDS[number];

/** First byte of each of our own messages. */
export const FIRST_BYTE = {
  sealed: 0x02,
  observe: 0x03,
  observed: 0x04,
  probe: 0x05,
  probeReply: 0x06,
  stranger: 0x07,
} as const;

/** A first byte from here on is QUIC's: the fixed bit (RFC 9000 §17.2). */
const QUIC_FIRST = 0x40;

const KIND_OF: readonly DatagramKind[] = Array.from({ length: 256 }, (_, byte) => {
  if (byte >= QUIC_FIRST) return "quic";
  for (const kind of Object.keys(FIRST_BYTE) as (keyof typeof FIRST_BYTE)[]) {
    if (FIRST_BYTE[kind] === byte) return kind;
  }
  return "unknown";
});

/** The kind of a datagram whose first byte (0 to 255) is this. */
export function classify(firstByte: number): DatagramKind {
  return KIND_OF[firstByte] ?? "unknown";
}

/** Takes trains of one kind; as {@linkcode DatagramHandler.datagrams}. */
export type TrainHandler = DatagramHandler["datagrams"];

/** Who takes what. A kind that nobody takes is dropped and counted. */
export interface DemultiplexerOptions {
  readonly quic?: TrainHandler;
  readonly sealed?: TrainHandler;
  readonly observe?: TrainHandler;
  readonly observed?: TrainHandler;
  readonly probe?: TrainHandler;
  readonly probeReply?: TrainHandler;
  readonly stranger?: TrainHandler;
  /** All that was waiting has been handed over. */
  readonly batchEnd?: () => void;
}

/** Stands between a socket and the rooms: each gets trains of its own kind only. */
export class Demultiplexer implements DatagramHandler {
  /** Datagrams dropped, by kind: `unknown` ones, and those of a kind that nobody takes here. */
  readonly dropped: Readonly<Record<DatagramKind, number>>;
  readonly #dropped: Record<DatagramKind, number>;
  readonly #handlers: Readonly<Partial<Record<DatagramKind, TrainHandler>>>;
  readonly #batchEnd: (() => void) | undefined;

  constructor({ batchEnd, ...handlers }: DemultiplexerOptions) {
    this.#handlers = handlers;
    this.#batchEnd = batchEnd;
    this.#dropped = this.dropped = {
      quic: 0,
      sealed: 0,
      observe: 0,
      observed: 0,
      probe: 0,
      probeReply: 0,
      stranger: 0,
      unknown: 0,
    };
  }

  /** A train of one kind goes on whole; a mixed one in runs of one kind, in order. */
  datagrams(data: Uint8Array, segmentSize: number, from: Address): void {
    const { length } = data;
    if (length === 0) return;
    let start = 0;
    let kind = classify(data[0]!);
    for (let at = segmentSize; at < length; at += segmentSize) {
      const next = classify(data[at]!);
      if (next === kind) continue;
      this.#handOn(kind, data.subarray(start, at), segmentSize, from);
      start = at;
      kind = next;
    }
    this.#handOn(kind, start === 0 ? data : data.subarray(start), segmentSize, from);
  }

  #handOn(kind: DatagramKind, data: Uint8Array, segmentSize: number, from: Address): void {
    const handler = this.#handlers[kind];
    // A single datagram is its own segment, also when it was the short last one of a train.
    if (handler) handler(data, Math.min(segmentSize, data.length), from);
    else this.#dropped[kind] += datagramsIn(data.length, segmentSize);
  }

  batchEnd(): void {
    this.#batchEnd?.();
  }
}
