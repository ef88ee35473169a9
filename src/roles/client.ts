/**
 * What connector and agent have in common: identity, two sockets, the QUIC endpoint, the link to the relay.
 * @module
 */
import type { ClientOutput, RelayMessageOf } from "../control/mod.ts";
import {
  type Address,
  addressOf,
  type Clock,
  fromBase64Url,
  fromHex,
  type Logger,
  messageOf,
  parseAddress,
} from "../core/mod.ts";
import { VERSION } from "../core/version.ts";
import {
  type ClientIdentity,
  KnownKeys,
  openStateFolder,
  parsePeerCertificate,
  type PeerIdentity,
  type StateFolder,
  type StateLock,
} from "../identity/mod.ts";
import { peekTunnelId, type SocketId } from "../path/mod.ts";
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
import { join, keepFresh } from "./joining.ts";
import type { AgentOptions, ConnectorOptions } from "./options.ts";
import { controlConfig } from "./control_profile.ts";
import { LocalPaths } from "./local_paths.ts";
import { P2pSockets } from "./p2p_sockets.ts";
import { hmac, randomBytes } from "./primitives.ts";
import { RelayLink } from "./relay_link.ts";
import { explainRelayed } from "./relayed_reason.ts";
import type { ClientStatus, TunnelStatus } from "./status.ts";
import { tunnelConfig } from "./tunnel_profile.ts";

/** Below it a datagram is ours, from it on QUIC's (RFC 9000 §17.2, the fixed bit). */
const FIRST_QUIC_BYTE = 0x40;

/** How long live flows may take to finish after a role was told to stop, in milliseconds. */
export const DRAIN_MS = 5_000;

/** How long the other ends may take to hear that this one stops, in milliseconds: a round trip or two. */
const GOODBYE_MS = 250;

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
    this.link = new RelayLink({
      kind: identity.kind,
      relays: () => this.#identity.relays,
      serverName: identity.relayServerName,
      config: () => controlConfig(this.credentials),
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
    void keepFresh(this.folder, identity, {
      ...options,
      signal: this.#over.signal,
      renewed: (renewed) => {
        this.#identity = renewed;
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
      return new Client({ options, folder, lock, identity, knownKeys, sockets, output });
    } catch (error) {
      sockets?.close();
      await lock.release();
      throw error;
    }
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
    return this.#tunnelConfig ??= tunnelConfig(this.credentials);
  }

  get wires(): TunnelWires {
    return {
      relaySocket: this.sockets.relay,
      p2pSocket: this.sockets.p2p,
      relayAddress: () => this.link.address,
    };
  }

  /** The relay has welcomed us: ask it where it sees us. */
  observe(welcome: RelayMessageOf<"welcome">): void {
    const id = fromHex(welcome.observeKey.id);
    const key = fromBase64Url(welcome.observeKey.key);
    if (!id || !key) return;
    const current = this.link.address;
    const all = [...(current ? [current] : []), ...this.link.addresses];
    const targets = ([6, 4] as const).flatMap((family) => {
      const main = all.find((address) => address.family === family);
      if (!main) return [];
      return [main, ...welcome.observePorts.map((port) => addressOf(main.host, port))];
    });
    this.paths.ask(targets, { id, key });
    this.relayPaths.ask(targets.filter(({ port }) => !welcome.observePorts.includes(port)), {
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
    const [from, to] = this.kind === "agent"
      ? [RELAYED_CONNECTOR, RELAYED_AGENT]
      : [RELAYED_AGENT, RELAYED_CONNECTOR];
    this.router.add(tunnel.id, (packet) => {
      if (packet[0]! < FIRST_QUIC_BYTE) tunnel.direct?.sealedDatagram(packet);
      else this.endpoint.deliver(tunnel.connection, packet, from, to);
    });
  }

  /**
   * Is the other end of a tunnel who it should be? Answers why not.
   *
   * @param expected the kind and name, and the key that the relay says it has
   */
  verify(
    certificates: Uint8Array[],
    expected: { kind: "connector" | "agent"; name: string; pin: string },
  ): string | undefined {
    const peer = certificates[0] && parsePeerCertificate(certificates[0]);
    const who = `${expected.kind} "${expected.name}"`;
    if (!peer) return `Cannot trust ${who} as it shows no certificate of ours`;
    const wrong = this.#whyWrong(peer, expected);
    if (wrong) return `Cannot trust ${who} as ${wrong}`;
    const pinned = { kind: expected.kind, name: peer.name, pin: peer.pin };
    const verdict = this.knownKeys.check(pinned);
    if (verdict === "changed") {
      const error = this.knownKeys.changedKeyError(pinned);
      this.log.error(error.message, { next: error.next });
      return error.message;
    }
    if (verdict === "new") {
      this.knownKeys.remember(pinned, this.clock.unix());
      this.log.info("first contact: its key is remembered", { peer: who, key: peer.pin });
    }
    return undefined;
  }

  #whyWrong(
    peer: PeerIdentity,
    expected: { kind: string; name: string; pin: string },
  ): string | undefined {
    if (peer.kind !== expected.kind || peer.name !== expected.name) {
      return `its certificate is for ${peer.kind} "${peer.name}"`;
    }
    if (peer.networkId !== this.#identity.networkId) return "its certificate is of another network";
    if (peer.pin !== expected.pin) return "its key is not the one that the relay knows";
    // Resumption does not look at the certificate's dates again, so we do.
    const now = this.clock.unix();
    if (now > peer.notAfter) return "its certificate has expired";
    return undefined;
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
      tunnels: parts.tunnels.map((tunnel) => this.#tunnelStatus(tunnel)),
      certificateExpires: new Date(this.#identity.notAfter).toISOString(),
    };
  }

  #tunnelStatus(tunnel: Tunnel): TunnelStatus {
    const { mux, connection } = tunnel;
    const flows = [...mux.flows.values()];
    return {
      peer: tunnel.peer,
      services: [...tunnel.services],
      path: tunnel.path,
      remote: tunnel.path === "direct" ? connection.peer.key : this.link.address?.key ?? null,
      rttMs: connection.rttMs() ?? null,
      mtu: tunnel.egress.packetSize(connection.peer) +
        tunnel.egress.prefix(connection.peer).length,
      earlyData: tunnel.isOpen ? "none" : null,
      openedMs: tunnel.openedMs ?? null,
      directAfterMs: tunnel.direct?.directAfterMs ?? null,
      pathChanges: tunnel.direct?.pathChanges ?? 0,
      whyRelayed: tunnel.path === "relayed" ? explainRelayed(tunnel, this.paths) : null,
      flows: flows.length,
      bytesIn: mux.bytesIn,
      bytesOut: mux.bytesOut,
      flowList: flows.map((flow) => ({
        service: flow.info.service,
        protocol: "tcp",
        peer: flow.info.peer,
        ageSeconds: Math.floor((performance.now() - flow.openedAt) / 1000),
        bytesIn: flow.stream.bytesIn,
        bytesOut: flow.stream.bytesOut,
        stalledBy: null,
      })),
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
    await this.#lock.release();
  }
}
