/**
 * Takes sealed datagrams from the relay apart and hands each to its tunnel.
 * @module
 */
import { type Address, fromHex, toHex, WaitingRoom } from "../core/mod.ts";
import { SEALED_OVERHEAD, tunnelKey, tunnelTail } from "./sealed.ts";

/** Takes what was inside a sealed datagram; `from`: where it came from, past the relay. */
export type SealedSink = (packet: Uint8Array, from?: Address) => void;

/** Why sealed datagrams were dropped. */
export interface SealedDrops {
  /** Neither from the relay nor from where the tunnel's other end is said to be. */
  wrongSource: number;
  /** Of no tunnel that we know (yet: they are kept for a moment). */
  unknownTunnel: number;
  /** With nothing inside. */
  tooShort: number;
}

/** Who names addresses that a tunnel's packets may come from, past the relay: the relay sees them, the other end offers them. */
export type ExpectedBy = "relay" | "peer";

interface Sink {
  readonly tail: number;
  readonly sink: SealedSink;
  readonly shortcuts: Record<ExpectedBy, ReadonlySet<string>>;
}

/** The tunnels of a process by their ids. */
export class SealedRouter {
  readonly dropped: SealedDrops = { wrongSource: 0, unknownTunnel: 0, tooShort: 0 };
  readonly #sinks = new Map<number, Sink>();
  readonly #relay: () => Address | undefined;
  /** A tunnel's first packets may overtake the message that announces it. */
  readonly #early = new WaitingRoom();

  /** `relay` tells where the relay is just now; datagrams from elsewhere are dropped. */
  constructor(relay: () => Address | undefined) {
    this.#relay = relay;
  }

  /** From now on that tunnel's packets go there. */
  add(tunnelId: string, sink: SealedSink): void {
    const id = fromHex(tunnelId)!;
    const shortcuts = this.#sinks.get(tunnelKey(id, 0))?.shortcuts ??
      { relay: new Set(), peer: new Set() };
    this.#sinks.set(tunnelKey(id, 0), { tail: tunnelTail(id, 0), sink, shortcuts });
    // The first packet may change who takes the next.
    for (const { data } of this.#early.take(tunnelId, performance.now())) {
      this.#sinks.get(tunnelKey(id, 0))?.sink(data);
    }
  }

  /** That tunnel's other end is there: sealed datagrams may come from there, too, past the relay. The newest word of each counts. */
  expect(tunnelId: string, addresses: readonly Address[], by: ExpectedBy): void {
    const entry = this.#sinks.get(tunnelKey(fromHex(tunnelId)!, 0));
    if (entry) entry.shortcuts[by] = new Set(addresses.map(({ key }) => key));
  }

  /** A train of sealed datagrams came to the P2P socket. */
  shortcut(data: Uint8Array, segmentSize: number, from: Address): void {
    for (let offset = 0; offset < data.length; offset += segmentSize) {
      const end = Math.min(offset + segmentSize, data.length);
      if (end - offset <= SEALED_OVERHEAD) {
        this.dropped.tooShort++;
        continue;
      }
      const entry = this.#sinks.get(tunnelKey(data, offset + 1));
      if (entry?.tail !== tunnelTail(data, offset + 1) || !isExpected(entry, from)) {
        this.dropped.wrongSource++;
        continue;
      }
      entry.sink(data.subarray(offset + SEALED_OVERHEAD, end), from);
    }
  }

  remove(tunnelId: string): void {
    this.#sinks.delete(tunnelKey(fromHex(tunnelId)!, 0));
  }

  /** A train of sealed datagrams came. */
  sealed(data: Uint8Array, segmentSize: number, from: Address): void {
    if (from.key !== this.#relay()?.key) {
      this.dropped.wrongSource++;
      return;
    }
    for (let offset = 0; offset < data.length; offset += segmentSize) {
      const end = Math.min(offset + segmentSize, data.length);
      if (end - offset <= SEALED_OVERHEAD) {
        this.dropped.tooShort++;
        continue;
      }
      const entry = this.#sinks.get(tunnelKey(data, offset + 1));
      if (entry === undefined || entry.tail !== tunnelTail(data, offset + 1)) {
        this.dropped.unknownTunnel++;
        const id = toHex(data.subarray(offset + 1, offset + SEALED_OVERHEAD));
        this.#early.add(id, data.subarray(offset + SEALED_OVERHEAD, end), from, performance.now());
        continue;
      }
      entry.sink(data.subarray(offset + SEALED_OVERHEAD, end));
    }
  }
}

function isExpected({ shortcuts }: Sink, { key }: Address): boolean {
  return shortcuts.relay.has(key) || shortcuts.peer.has(key);
}
