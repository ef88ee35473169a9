/**
 * What connector and agent have in common: identity, two sockets, the QUIC endpoint, the link to the relay.
 * @module
 */
import type { ClientOutput } from "../control/mod.ts";
import {
  type Address,
  addressOf,
  type Clock,
  fromHex,
  type Logger,
  messageOf,
  parseAddress,
} from "../core/mod.ts";
import { VERSION } from "../core/version.ts";
import {
  type ClientIdentity,
  keepRenewed,
  KnownKeys,
  openStateFolder,
  type StateFolder,
  type StateLock,
} from "../identity/mod.ts";
import { peekTunnelId, type SocketId } from "../path/mod.ts";
import type { ObserveKey } from "../qad/mod.ts";
import { type NativeConfig, QuicEndpoint } from "../quic/mod.ts";
import {
  Demultiplexer,
  type DualSockets,
  openDualSockets,
  type UdpSocket,
} from "../sockets/mod.ts";
import {
  DirectSide,
  RELAYED_AGENT,
  RELAYED_CONNECTOR,
  SealedRouter,
  type Tunnel,
  type TunnelWires,
} from "../tunnel/mod.ts";
import { FlowLedger } from "./flow_ledger.ts";
import { join } from "./joining.ts";
import type { AgentOptions, ConnectorOptions } from "./options.ts";
import { controlConfig } from "./control_profile.ts";
import { loadTicketKey } from "../relay/ticket_key_file.ts";
import { EarlyGate } from "./early_gate.ts";
import { TicketBook } from "./ticket_book.ts";
import { LocalPaths } from "./local_paths.ts";
import { P2pSockets } from "./p2p_sockets.ts";
import { distrust, type ExpectedPeer } from "./peer_trust.ts";
import { hmac, randomBytes } from "./primitives.ts";
import { RelayLink } from "./relay_link.ts";
import { RelayTicket } from "./relay_ticket.ts";
import { explainRelayed } from "./relayed_reason.ts";
import type { ClientStatus } from "./status.ts";
import { tunnelConfig } from "./tunnel_profile.ts";
import { tunnelStatus } from "./tunnel_status.ts";

/** Below it a datagram is ours, from it on QUIC's (RFC 9000 §17.2, the fixed bit). */
const FIRST_QUIC_BYTE = 0x40;

/** How long live flows may take to finish after a role was told to stop, in milliseconds. */
export const DRAIN_MS = 5_000;

/** How long the other ends may take to hear that this one stops, in milliseconds: a round trip or two. */
const GOODBYE_MS = 250;

/** The relay's ports that say where they see a socket, and the key to ask with. */
export interface ObserverFacts {
  /** Main port first, in each family that the relay has. */
  readonly targets: readonly Address[];
  readonly key: ObserveKey;
}

/** The common part of a running connector or agent. */
export class Client {
  readonly kind: "connector" | "agent";
  readonly folder: StateFolder;
  readonly knownKeys: KnownKeys;
  readonly sockets: DualSockets;
  readonly endpoint = new QuicEndpoint();
  readonly router: SealedRouter;
  readonly link: RelayLink;
  readonly log: Logger;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly p2p: P2pSockets;
  /** Where the P2P socket may be reached. */
  readonly paths: LocalPaths;
  /** Where the relay socket is seen; for status. */
  readonly relayPaths: LocalPaths;
  /** What flows have moved; for metrics. */
  readonly flows = new FlowLedger();
  /** Whom to ask where this machine is seen, as the relay last said. */
  observers: ObserverFacts | undefined;
  /** For coming back with 0-RTT. */
  readonly tickets: TicketBook;
  /** Judges agents' early data (connector). */
  readonly gate: EarlyGate;
  /** 0-RTT is wanted. */
  readonly earlyData: boolean;
  /** Something may be sent to the relay: it is welcomed, or the first flight is being written. */
  onUsable: () => void = () => {};
  /** Connector: makes its tickets; kept, so that agents come back early after its restart, too. */
  readonly #ticketKey: Uint8Array | undefined;
  readonly #byId = new Map<string, Tunnel>();
  readonly #noDirect: boolean;
  readonly #lock: StateLock;
  readonly #startedAt = performance.now();
  /** Ends what runs in the background. */
  readonly #over = new AbortController();
  #identity: ClientIdentity;
  #tunnelConfig: NativeConfig | undefined;

  private constructor(
    parts: {
      options: ConnectorOptions | AgentOptions;
      folder: StateFolder;
      lock: StateLock;
      identity: ClientIdentity;
      knownKeys: KnownKeys;
      sockets: DualSockets;
      tickets: TicketBook;
      gate: EarlyGate;
      ticketKey: Uint8Array | undefined;
      output: (output: ClientOutput) => void;
    },
  ) {
    const { options, identity, sockets } = parts;
    this.kind = identity.kind;
    this.folder = parts.folder;
    this.#lock = parts.lock;
    this.#identity = identity;
    this.knownKeys = parts.knownKeys;
    this.sockets = sockets;
    this.log = options.log;
    this.clock = options.clock;
    this.signal = options.signal;
    this.tickets = parts.tickets;
    this.gate = parts.gate;
    this.#ticketKey = parts.ticketKey;
    this.earlyData = options.noEarlyData !== true;
    this.link = new RelayLink({
      ...(this.earlyData
        ? {
          ticket: new RelayTicket({
            tickets: this.tickets,
            networkId: identity.networkId,
            serverName: identity.relayServerName,
            clock: this.clock,
          }),
        }
        : {}),
      usable: () => this.onUsable(),
      observe: (asking) => this.#observe(asking),
      kind: identity.kind,
      relays: () => this.#identity.relays,
      serverName: identity.relayServerName,
      config: () => controlConfig(this.credentials, { earlyData: this.earlyData }),
      endpoint: this.endpoint,
      socket: sockets.relay,
      clock: this.clock,
      log: this.log,
      output: parts.output,
    });
    this.router = new SealedRouter(() => this.link.address);
    sockets.relay.receive(
      new Demultiplexer({
        quic: (data, segmentSize, from) =>
          this.endpoint.ingest(data, segmentSize, from, sockets.relay.local),
        observed: (data) => this.relayPaths.datagram(data),
        sealed: (data, segmentSize, from) => this.router.sealed(data, segmentSize, from),
        batchEnd: () => this.endpoint.batchEnd(),
      }),
    );
    this.#noDirect = options.noDirect === true;
    this.p2p = new P2pSockets(sockets.p2p, {
      log: this.log,
      handlerOf: (socket, id) => this.#p2pHandler(socket, id),
    });
    this.paths = new LocalPaths({
      socket: sockets.p2p,
      clock: this.clock,
      log: this.log,
      changed: () => {
        if (!this.#noDirect) {
          const { v4, v6 } = this.paths;
          const seen = [v6.observed, v4.observed].flatMap((address) =>
            address ? [address.key] : []
          );
          this.link.tell({ type: "observed", addresses: seen });
        }
        for (const tunnel of this.#byId.values()) tunnel.direct?.ownChanged();
      },
      networkChanged: () => {
        this.link.networkChanged();
        for (const tunnel of this.#byId.values()) tunnel.direct?.networkChanged();
      },
    });
    this.relayPaths = new LocalPaths({
      socket: sockets.relay,
      clock: this.clock,
      log: this.log,
      changed: () => {},
    });
    void keepRenewed(this.folder, identity, {
      clock: options.clock,
      log: options.log,
      signal: this.#over.signal,
      onRenewed: (renewed) => {
        this.#identity = renewed.identity;
        this.#tunnelConfig = undefined;
      },
    });
  }

  /**
   * Opens the state folder, joins the network where need be, and opens the sockets. `output` gets what the relay says.
   *
   * @throws {UserError} saying what is wrong and what to do
   */
  static async open(
    kind: "connector" | "agent",
    options: ConnectorOptions | AgentOptions,
    output: (output: ClientOutput) => void,
  ): Promise<Client> {
    const { log } = options;
    const folder = await openStateFolder(options.state, {
      role: kind,
      create: options.invite !== undefined,
    });
    const lock = await folder.lock();
    let sockets: DualSockets | undefined;
    try {
      const knownKeys = await KnownKeys.load(folder, {
        onError: (error) => log.warn("cannot keep a peer's key", { reason: messageOf(error) }),
      });
      sockets = openDualSockets({
        ...(options.relayPort === undefined ? {} : { relayPort: options.relayPort }),
        ...(options.p2pPort === undefined ? {} : { p2pPort: options.p2pPort }),
      });
      const { identity, pins } = await join(folder, options);
      for (const { name, pin } of pins) {
        knownKeys.remember({ kind: "connector", name: name as never, pin }, options.clock.unix());
      }
      const tickets = await TicketBook.open(folder, options);
      const enabled = options.noEarlyData !== true;
      const isConnector = kind === "connector";
      const gate = await EarlyGate.open({
        enabled,
        clock: options.clock,
        log,
        ...(isConnector ? { folder } : {}),
      });
      const ticketKey = isConnector
        ? (await loadTicketKey(folder, { now: options.clock.unix(), log })).key
        : undefined;
      return new Client({
        options,
        folder,
        lock,
        identity,
        knownKeys,
        sockets,
        tickets,
        gate,
        ticketKey,
        output,
      });
    } catch (error) {
      sockets?.close();
      await lock.release();
      throw error;
    }
  }

  /** Only the relayed path. */
  get noDirect(): boolean {
    return this.#noDirect;
  }

  get identity(): ClientIdentity {
    return this.#identity;
  }

  get name(): string {
    return this.#identity.name;
  }

  /** What TLS needs. */
  get credentials() {
    const { caPem, certificatePem, privateKeyPem } = this.#identity;
    return { caPem, certPem: certificatePem, keyPem: privateKeyPem };
  }

  /** The engine's settings for tunnels; the same object until the certificate is renewed. */
  get tunnelConfig(): NativeConfig {
    return this.#tunnelConfig ??= tunnelConfig(this.credentials, {
      earlyData: this.earlyData,
      ...(this.#ticketKey ? { ticketKey: this.#ticketKey } : {}),
    });
  }

  get wires(): TunnelWires {
    return {
      relaySocket: this.sockets.relay,
      p2pSocket: this.sockets.p2p,
      directSocket: (local) => this.p2p.at(local),
      relayAddress: () => this.link.address,
    };
  }

  /** Asks the relay where it sees us, at both its ports and in both families. */
  #observe(asking: { id: string; key: string; ports: readonly number[] }): void {
    const id = fromHex(asking.id);
    const key = fromHex(asking.key);
    if (!id || !key) return;
    const current = this.link.address;
    const all = [...(current ? [current] : []), ...this.link.addresses];
    const targets = ([6, 4] as const).flatMap((family) => {
      const main = all.find((address) => address.family === family);
      if (!main) return [];
      return [main, ...asking.ports.map((port) => addressOf(main.host, port))];
    });
    this.observers = { targets, key: { id, key } };
    this.paths.ask(targets, { id, key });
    this.relayPaths.ask(targets.filter(({ port }) => !asking.ports.includes(port)), {
      id,
      key,
    });
  }

  #p2pHandler(socket: UdpSocket, id: SocketId): Demultiplexer {
    const probes = (data: Uint8Array, segmentSize: number, from: Address) => {
      for (let at = 0; at < data.length; at += segmentSize) {
        const datagram = data.subarray(at, at + segmentSize);
        const tunnelId = peekTunnelId(datagram);
        if (tunnelId !== undefined) this.#byId.get(tunnelId)?.direct?.datagram(id, from, datagram);
      }
    };
    return new Demultiplexer({
      quic: (data, segmentSize, from) =>
        this.endpoint.ingest(data, segmentSize, from, socket.local),
      observed: (data) => this.paths.datagram(data),
      probe: probes,
      probeReply: probes,
      batchEnd: () => this.endpoint.batchEnd(),
    });
  }

  /** The relay tells where it sees the other end's P2P socket. */
  peerSeen(tunnelId: string, observed: readonly string[]): void {
    const addresses = observed.flatMap((text) => parseAddress(text) ?? []);
    this.#byId.get(tunnelId)?.direct?.peerSeen(addresses);
  }

  /** The tunnel is over. */
  detach(tunnelId: string): void {
    this.router.remove(tunnelId);
    const tunnel = this.#byId.get(tunnelId);
    if (tunnel) this.flows.forget(tunnel);
    this.#byId.delete(tunnelId);
  }

  /** Packets that the relay forwards for a tunnel reach its connection, and it looks for a direct path once it is open. */
  attach(tunnel: Tunnel): void {
    this.#byId.set(tunnel.id, tunnel);
    const relayRtt = this.link.status().rttMs;
    tunnel.direct = new DirectSide(tunnel, {
      sockets: this.p2p,
      own: this.paths,
      clock: this.clock,
      log: this.log,
      mac: hmac,
      random: randomBytes,
      disabled: this.#noDirect,
      ...(relayRtt === null ? {} : { relayRtt: 2 * relayRtt }),
    });
    this.flows.follow(tunnel);
    const [from, to] = this.kind === "agent"
      ? [RELAYED_CONNECTOR, RELAYED_AGENT]
      : [RELAYED_AGENT, RELAYED_CONNECTOR];
    this.router.add(tunnel.id, (packet) => {
      if (packet[0]! < FIRST_QUIC_BYTE) tunnel.direct?.sealedDatagram(packet);
      else this.endpoint.deliver(tunnel.connection, packet, from, to);
    });
  }

  /** Is the other end of a tunnel who it should be? Answers why not. See {@linkcode distrust}. */
  verify(certificates: Uint8Array[], expected: ExpectedPeer): string | undefined {
    return distrust(certificates, expected, {
      networkId: this.#identity.networkId,
      knownKeys: this.knownKeys,
      now: this.clock.unix(),
      log: this.log,
    });
  }

  /** The parts of the status that both roles share. */
  status(parts: { services: string[]; endpoints: string[]; tunnels: Tunnel[] }): ClientStatus {
    return {
      role: this.kind,
      name: this.name,
      version: VERSION,
      uptimeSeconds: Math.floor((performance.now() - this.#startedAt) / 1000),
      pid: Deno.pid,
      relay: this.link.status(),
      sockets: {
        relay: {
          local: this.sockets.relay.local.key,
          observed: {
            v4: (this.link.observed.v4 ?? this.relayPaths.v4.observed)?.key ?? null,
            v6: (this.link.observed.v6 ?? this.relayPaths.v6.observed)?.key ?? null,
          },
        },
        p2p: {
          local: this.sockets.p2p.local.key,
          observed: {
            v4: this.paths.v4.observed?.key ?? null,
            v6: this.paths.v6.observed?.key ?? null,
          },
        },
      },
      services: parts.services,
      endpoints: parts.endpoints,
      tunnels: parts.tunnels.map((tunnel) =>
        tunnelStatus(tunnel, {
          relay: this.link.address?.key ?? null,
          whyRelayed: (relayed) => explainRelayed(relayed, this.paths),
        })
      ),
      early: this.kind === "connector" ? this.gate.counts : null,
      certificateExpires: new Date(this.#identity.notAfter).toISOString(),
    };
  }

  /** Closes everything; the tunnels' other ends are told. */
  async close(text: string): Promise<void> {
    this.#over.abort();
    this.paths.stop();
    this.relayPaths.stop();
    // The control connection goes last: with it the relay forgets where to send what the tunnels still say.
    await this.endpoint.closeInOrder(text, { withinMs: GOODBYE_MS, last: this.link.connection });
    this.link.stop();
    this.p2p.closeAll();
    this.sockets.close();
    await this.knownKeys.flush();
    await this.tickets.flush();
    await this.gate.close();
    await this.#lock.release();
  }
}
