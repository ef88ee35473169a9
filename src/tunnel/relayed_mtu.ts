/**
 * How large a packet the relayed path carries: the same search as on direct paths, with probes inside sealed datagrams.
 *
 * ```
 * 02 tunnel-id[8] 05 tunnel-id[8] txid[8] flags[1] zero[...] mac[16]
 * ```
 *
 * The relay forwards them like everything sealed. Their answers say nothing about addresses: both ends' are made up.
 * @module
 */
import { type Address, type Clock, Driver } from "../core/mod.ts";
import {
  type DirectPath,
  type MtuInput,
  type MtuOutput,
  MtuSearch,
  type ProbeCodec,
} from "../path/mod.ts";
import type { RandomBytes } from "../qad/mod.ts";
import { MAX_PACKET } from "../quic/mod.ts";
import type { TunnelEgress } from "./tunnel_egress.ts";

/** The relayed path's number among sockets: none of the P2P sockets has it. */
const RELAYED_SOCKET = -1;

/** What the search needs. */
export interface RelayedMtuOptions {
  readonly codec: ProbeCodec;
  readonly random: RandomBytes;
  readonly clock: Clock;
  /** The other end's made-up address. */
  readonly peer: Address;
  /** Sends its probes, and is told what size passes. */
  readonly egress: Pick<TunnelEgress, "sendSealed" | "setPathMtu">;
}

/** See the module's head. */
export class RelayedMtu {
  readonly #options: RelayedMtuOptions;
  readonly #search: Driver<MtuInput, MtuOutput>;
  readonly #path: DirectPath;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: RelayedMtuOptions) {
    this.#options = options;
    this.#path = { socket: RELAYED_SOCKET, remote: options.peer };
    const { codec, random, clock } = options;
    this.#search = new Driver<MtuInput, MtuOutput>(
      new MtuSearch({ codec, random, limit: MAX_PACKET }),
      { clock, tick: { type: "time" }, output: (output) => this.#output(output) },
    );
  }

  /**
   * The tunnel runs over the relay now. `rtt`: in milliseconds, as far as known. Begins after `delayMs`: a young tunnel has
   * better things to do, and is direct by then if it can be.
   */
  use(rtt: number, proven: number, delayMs = 0): void {
    clearTimeout(this.#timer);
    const begin = () => this.#search.tell({ type: "use", path: this.#path, rtt, proven });
    if (delayMs === 0) begin();
    else this.#timer = setTimeout(begin, delayMs);
  }

  /** It does not any more: its size need not be guarded. */
  release(): void {
    clearTimeout(this.#timer);
    this.#search.tell({ type: "release" });
  }

  /** The tunnel's own packets travel over the relay. */
  traffic(): void {
    this.#search.tell({ type: "traffic" });
  }

  /** What came sealed and is no QUIC packet. */
  datagram(datagram: Uint8Array): void {
    const { codec, peer, egress } = this.#options;
    const opened = codec.open(datagram);
    if (opened.type === "probe") egress.sendSealed(codec.reply(opened.txid, peer));
    else if (opened.type === "reply") {
      this.#search.tell({ type: "reply", reply: opened, socket: RELAYED_SOCKET, from: peer });
    }
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#search.stop();
  }

  #output(output: MtuOutput): void {
    const { egress, peer } = this.#options;
    if (output.type === "send") egress.sendSealed(output.datagram);
    else if (output.type === "mtu") egress.setPathMtu(peer, output.mtu);
  }
}
