/**
 * Who gets which datagram at a connector or an agent, and what is known of where this machine may be reached.
 *
 * ```
 * relay socket --+-- QUIC ------> endpoint (control connection)
 *                +-- sealed ----> SealedRouter --> tunnel: QUIC, or a probe of the relayed path
 *                '-- observed --> where the relay socket is seen
 * P2P socket ----+-- QUIC ------> endpoint (tunnels on a direct path)
 *                +-- sealed ----> SealedRouter (a young tunnel's packets, past the relay)
 *                +-- probes ----> the tunnel's direct side
 *                '-- observed --> where the P2P socket is seen
 * ```
 * @module
 */
import { decodeStranger } from "../control/mod.ts";
import {
  type Address,
  addressOf,
  type Clock,
  fromHex,
  type Logger,
  parseAddress,
} from "../core/mod.ts";
import { isUsable, P2P_SOCKET, peekTunnelId, type SocketId } from "../path/mod.ts";
import type { ObserveKey } from "../qad/mod.ts";
import type { QuicEndpoint } from "../quic/mod.ts";
import { Demultiplexer, type DualSockets, type UdpSocket } from "../sockets/mod.ts";
import {
  DirectSide,
  makeKnock,
  RELAYED_AGENT,
  RELAYED_CONNECTOR,
  SealedRouter,
  type Tunnel,
  TUNNEL_IDLE_TIMEOUT,
  type TunnelWires,
} from "../tunnel/mod.ts";
import type { FlowLedger } from "./flow_ledger.ts";
import { LocalPaths } from "./local_paths.ts";
import { P2pSockets } from "./p2p_sockets.ts";
import { hmac, randomBytes } from "./primitives.ts";
import type { RelayLink } from "./relay_link.ts";
import type { ObserveFacts } from "./relay_ticket.ts";

/** Below it a datagram is ours, from it on QUIC's (RFC 9000 §17.2, the fixed bit). */
const FIRST_QUIC_BYTE = 0x40;

/** The relay's ports that say where they see a socket, and the key to ask with. */
export interface ObserverFacts {
  /** Main port first, in each family that the relay has. */
  readonly targets: readonly Address[];
  readonly key: ObserveKey;
}

/** What the wiring needs of the link to the relay. */
export interface WiringLink extends
  Pick<
    RelayLink,
    | "address"
    | "addresses"
    | "tell"
    | "poke"
    | "networkChanged"
    | "slept"
    | "unknownThere"
  > {
  status(): Pick<ReturnType<RelayLink["status"]>, "rttMs">;
}

/** What the wiring joins. */
export interface ClientWiringOptions {
  readonly kind: "connector" | "agent";
  readonly sockets: DualSockets;
  readonly endpoint: QuicEndpoint;
  readonly link: () => WiringLink;
  readonly flows: FlowLedger;
  readonly clock: Clock;
  readonly log: Logger;
  /** Only the relayed path. */
  readonly noDirect: boolean;
  /** Guess ports where one NAT maps per destination. */
  readonly guessing: boolean;
  /** Silence after which an end gives a tunnel up, in milliseconds. @default 180,000 */
  readonly tunnelIdleMs?: number;
  /** This machine has slept, and its monotonic clock stood still for so long meanwhile, in milliseconds. */
  readonly stoodStill?: (ms: number) => void;
}

/** See the module's head. */
export class ClientWiring {
  readonly router: SealedRouter;
  readonly p2p: P2pSockets;
  /** Where the P2P socket may be reached. */
  readonly paths: LocalPaths;
  /** Where the relay socket is seen; for status. */
  readonly relayPaths: LocalPaths;
  /** Whom to ask where this machine is seen, as the relay last said. */
  observers: ObserverFacts | undefined;
  readonly #options: ClientWiringOptions;
  readonly #tunnels = new Map<string, Tunnel>();

  constructor(options: ClientWiringOptions) {
    this.#options = options;
    const { sockets, endpoint, clock, log, link } = options;
    this.router = new SealedRouter(() => link().address);
    sockets.relay.receive(
      new Demultiplexer({
        quic: (data, segmentSize, from) =>
          endpoint.ingest(data, segmentSize, from, sockets.relay.local),
        observed: (data) => this.relayPaths.datagram(data),
        sealed: (data, segmentSize, from) => this.router.sealed(data, segmentSize, from),
        stranger: (data, segmentSize, from) => {
          for (let at = 0; at < data.length; at += segmentSize) {
            const echo = decodeStranger(data.subarray(at, at + segmentSize));
            if (echo !== undefined) link().unknownThere(echo, from);
          }
        },
        batchEnd: () => endpoint.batchEnd(),
      }),
    );
    this.p2p = new P2pSockets(sockets.p2p, {
      log,
      handlerOf: (socket, id) => this.#p2pHandler(socket, id),
    });
    this.paths = new LocalPaths({
      socket: sockets.p2p,
      direct: !options.noDirect,
      clock,
      log,
      changed: () => this.#ownChanged(),
      slept: (ms, stoodStill) => {
        options.stoodStill?.(stoodStill);
        this.#slept(ms);
      },
      networkChanged: () => {
        link().networkChanged();
        for (const tunnel of this.#tunnels.values()) {
          if (!tunnel.closed) tunnel.direct?.networkChanged();
        }
      },
    });
    this.relayPaths = new LocalPaths({ socket: sockets.relay, clock, log, changed: () => {} });
  }

  /** The relay forwards again: what waits to be sent again need not wait for its timer. */
  followed(): void {
    for (const tunnel of this.#tunnels.values()) if (tunnel.path === "relayed") tunnel.poke();
  }

  /**
   * The other ends have given up long ago what was silent for too long. The engine does not see it: what waited in a socket
   * meanwhile looks to it like a sign of life, and some systems stop its clock while they sleep. The way back begins in this very
   * turn of the event loop, and with it new tunnels: whoever has waited for us to wake up waits for nothing else.
   */
  #slept(ms: number): void {
    const link = this.#options.link();
    link.slept(ms, () => {
      link.tell({ type: "observed", addresses: [] });
      if (ms < (this.#options.tunnelIdleMs ?? TUNNEL_IDLE_TIMEOUT)) return;
      const text = `this machine has slept for ${Math.round(ms / 1000)} s`;
      for (const tunnel of this.#tunnels.values()) {
        tunnel.close(text, { soon: true });
        link.tell({ type: "disconnect", tunnelId: tunnel.id });
      }
    });
  }

  /** How tunnels reach the network. */
  get wires(): TunnelWires {
    const { sockets, link } = this.#options;
    return {
      relaySocket: sockets.relay,
      p2pSocket: sockets.p2p,
      directSocket: (local) => this.p2p.at(local),
      relayAddress: () => link().address,
    };
  }

  /** Asks the relay where it sees us, at both its ports and in both families. */
  observe(asking: ObserveFacts): void {
    const id = fromHex(asking.id);
    const bytes = fromHex(asking.key);
    if (!id || !bytes) return;
    const link = this.#options.link();
    const all = [...(link.address ? [link.address] : []), ...link.addresses];
    const targets = ([6, 4] as const).flatMap((family) => {
      const main = all.find((address) => address.family === family);
      if (!main) return [];
      return [main, ...asking.ports.map((port) => addressOf(main.host, port))];
    });
    const key = { id, key: bytes };
    this.observers = { targets, key };
    this.paths.ask(targets, key);
    this.relayPaths.ask(targets.filter(({ port }) => !asking.ports.includes(port)), key);
  }

  /** The relay tells where it sees the other end's P2P socket. */
  peerSeen(tunnelId: string, observed: readonly string[]): void {
    const addresses = observed.flatMap((text) => parseAddress(text) ?? []);
    if (!this.#options.noDirect) this.#expect(tunnelId, addresses);
    this.#tunnels.get(tunnelId)?.direct?.peerSeen(addresses);
  }

  /** The other end's packets may come straight from there. A connector has to open its own NAT for them; an agent's probes do. */
  #expect(tunnelId: string, addresses: readonly Address[]): void {
    this.router.expect(tunnelId, addresses, "relay");
    if (this.#options.kind !== "connector") return;
    // Where the tunnel's first packet is here already, the answer to it goes first: it opens the NAT as well.
    setTimeout(() => this.#knock(tunnelId, addresses));
  }

  #knock(tunnelId: string, addresses: readonly Address[]): void {
    const knock = makeKnock(tunnelId, { mac: hmac, random: randomBytes });
    const { allowLoopback } = this.paths;
    for (const address of addresses) {
      if (isUsable(address, { allowLoopback })) {
        this.p2p.get(P2P_SOCKET)?.send(address, knock, knock.length);
      }
    }
  }

  /** Packets that the relay forwards for a tunnel reach its connection, and it looks for a direct path once it is open. */
  attach(tunnel: Tunnel): void {
    const { kind, endpoint, link, clock, log, noDirect, guessing, flows } = this.#options;
    this.#tunnels.set(tunnel.id, tunnel);
    const relayRtt = link().status().rttMs;
    const [from, to] = kind === "agent"
      ? [RELAYED_CONNECTOR, RELAYED_AGENT]
      : [RELAYED_AGENT, RELAYED_CONNECTOR];
    tunnel.direct = new DirectSide(tunnel, {
      sockets: this.p2p,
      own: this.paths,
      clock,
      log,
      mac: hmac,
      random: randomBytes,
      disabled: noDirect,
      guessing,
      doubted: () => link().poke(),
      expect: (addresses) => this.router.expect(tunnel.id, addresses, "peer"),
      deliver: (packet) => {
        endpoint.deliver(tunnel.connection, packet, from, to);
        // What was kept comes in no batch.
        queueMicrotask(() => endpoint.batchEnd());
      },
      ...(relayRtt === null ? {} : { relayRtt: 2 * relayRtt }),
    });
    flows.follow(tunnel);
    this.router.add(tunnel.id, (packet, straight) => {
      if (straight) tunnel.direct?.heardStraight(straight);
      if (packet[0]! < FIRST_QUIC_BYTE) tunnel.direct?.sealedDatagram(packet);
      else if (!tunnel.direct?.keeps(packet)) {
        endpoint.deliver(tunnel.connection, packet, from, to);
      }
    });
  }

  /** The tunnel is over. */
  detach(tunnelId: string): void {
    this.router.remove(tunnelId);
    const tunnel = this.#tunnels.get(tunnelId);
    if (tunnel) this.#options.flows.forget(tunnel);
    this.#tunnels.delete(tunnelId);
  }

  stop(): void {
    this.paths.stop();
    this.relayPaths.stop();
    this.p2p.closeAll();
  }

  #ownChanged(): void {
    if (!this.#options.noDirect) {
      const { v4, v6 } = this.paths;
      const addresses = [v6.observed, v4.observed].flatMap((seen) => seen ? [seen.key] : []);
      this.#options.link().tell({ type: "observed", addresses });
    }
    for (const tunnel of this.#tunnels.values()) tunnel.direct?.ownChanged();
  }

  #p2pHandler(socket: UdpSocket, id: SocketId): Demultiplexer {
    const { endpoint } = this.#options;
    const probes = (data: Uint8Array, segmentSize: number, from: Address) => {
      for (let at = 0; at < data.length; at += segmentSize) {
        const datagram = data.subarray(at, at + segmentSize);
        const tunnelId = peekTunnelId(datagram);
        if (tunnelId === undefined) continue;
        this.#tunnels.get(tunnelId)?.direct?.datagram(id, from, datagram);
      }
    };
    return new Demultiplexer({
      quic: (data, segmentSize, from) => endpoint.ingest(data, segmentSize, from, socket.local),
      observed: (data) => this.paths.datagram(data),
      sealed: (data, segmentSize, from) => this.router.shortcut(data, segmentSize, from),
      probe: probes,
      probeReply: probes,
      batchEnd: () => endpoint.batchEnd(),
    });
  }
}
