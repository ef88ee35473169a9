/**
 * The direct side of a live tunnel: gives the path machines what they are owed, and does what they say.
 *
 * ```
 * offers (control stream) --+                       +--> probes (P2P socket)
 * probes (P2P socket) ------+--> TunnelPaths -------+--> PathMover --> QUIC migration
 * own traffic, interfaces --+                       +--> packet size --> TunnelEgress
 * ```
 * @module
 */
import { type Address, addressOf, Driver, fromBase64Url, fromHex } from "../core/mod.ts";
import {
  type AttemptOutcome,
  decodeOffer,
  type DirectPath,
  isUsable,
  P2P_SOCKET,
  type PathOffer,
  ProbeCodec,
  type SocketId,
  TunnelPaths,
  type TunnelPathsInput,
  type TunnelPathsOutput,
} from "../path/mod.ts";
import { isPathValidated, MAX_PACKET, MIN_PACKET, type NativePathEvent } from "../quic/mod.ts";
import type { DirectSideOptions, PathChange, TunnelDirect } from "./direct_part.ts";
import { GuessSockets } from "./guess_sockets.ts";
import { HeadStart } from "./head_start.ts";
import { PROBE_KEY_BYTES } from "./knock.ts";
import { offerOf } from "./own_offer.ts";
import { PathHistory } from "./path_history.ts";
import { PathLoss } from "./path_loss.ts";
import { type PathEnds, PathFollower, PathMover } from "./path_mover.ts";
import { Rebinding } from "./rebinding.ts";
import { RelayedMtu } from "./relayed_mtu.ts";
import { isRelayed, RELAYED_AGENT, RELAYED_CONNECTOR } from "./sealed.ts";
import type { Tunnel } from "./tunnel.ts";
import { TrafficWatch } from "./traffic_watch.ts";
import type { TunnelMessage } from "./tunnel_message.ts";

type Offer = Extract<TunnelMessage, { type: "offer" }>;

/** Probes kept until their key comes; an agent sends fewer in a round trip, and more would be a stranger's. */
const MAX_EARLY_PROBES = 24;

/** A tunnel that can be direct is so by then, most often; only then the size of the relayed path's packets matters. */
const YOUNG_MS = 300;

/** See the module's head. */
export class DirectSide implements TunnelDirect {
  readonly #tunnel: Tunnel;
  readonly #options: DirectSideOptions;
  readonly #outcomes = new Map<4 | 6, AttemptOutcome>();
  readonly #history: PathHistory;
  readonly #watch: TrafficWatch;
  readonly #loss: PathLoss;
  #machine: TunnelPaths | undefined;
  #paths: Driver<TunnelPathsInput, TunnelPathsOutput> | undefined;
  #relayedMtu: RelayedMtu | undefined;
  #key: Uint8Array | undefined;
  #codec: ProbeCodec | undefined;
  #generation = 0;
  /** Probes that came before the key; answered as soon as it is there. */
  #early: { socket: SocketId; from: Address; data: Uint8Array }[] = [];
  readonly #offers = new HeadStart<Offer>((offer) => this.#offered(offer));
  #peerOffer: PathOffer | undefined;
  #peerDisabled = false;
  /** Where the other end's packets came from past the relay, until that was made use of. */
  #straight: Address | undefined;
  readonly #rebinding = new Rebinding();
  readonly #guessSockets: GuessSockets;
  #mover: PathMover | undefined;
  #follower: PathFollower | undefined;
  #useReason = "";

  constructor(tunnel: Tunnel, options: DirectSideOptions) {
    this.#tunnel = tunnel;
    this.#options = options;
    this.#loss = new PathLoss(tunnel, options.deliver);
    this.#guessSockets = new GuessSockets(options.sockets);
    this.#history = new PathHistory(tunnel, options.log);
    this.#watch = new TrafficWatch({
      tunnel,
      clock: options.clock,
      note: (received) => this.#noteTraffic(received),
      silent: () => this.#silent(),
    });
  }

  /**
   * The relay has said where it sees the other end's P2P socket, before the tunnel is there: no secret, as the relay sees it
   * anyway. The agent probes there at once; the connector, which gets the key of the probes only with the tunnel, has opened its
   * NAT towards it, and keeps what comes meanwhile. So the first probes need not wait for the handshake, and the handshake need
   * not go the long way only.
   */
  peerSeen(addresses: readonly Address[]): void {
    const { disabled, own } = this.#options;
    const usable = addresses.filter((address) => isUsable(address, own));
    if (disabled || usable.length === 0 || this.#peerOffer) return;
    if (this.#tunnel.end === "agent") {
      this.#begin();
      const candidates = usable.map((address) => ({ kind: "observed" as const, address }));
      this.#paths?.tell({ type: "remote", offer: { generation: 0, candidates, mapping: {} } });
    }
    this.#tunnel.egress.setShortcuts(usable);
  }

  /** The tunnel is open: the agent says where it may be reached. */
  start(): void {
    if (this.#tunnel.end !== "agent") return;
    this.#begin();
    this.#sendOffer();
  }

  get directAfterMs(): number | undefined {
    return this.#history.directAfterMs;
  }

  get pathChanges(): number {
    return this.#history.changes;
  }

  onChange(listener: (change: PathChange) => void): () => void {
    return this.#history.onChange(listener);
  }

  /** The other end says where it may be reached. */
  message(message: TunnelMessage): void {
    if (message.type !== "offer") return;
    const { connection, earlyData } = this.#tunnel;
    const first = this.#peerOffer === undefined && earlyData === "accepted";
    this.#offers.take(message, first || !connection.established);
  }

  #offered(message: Offer): void {
    this.#peerDisabled = message.disabled === true;
    if (this.#tunnel.end === "connector" && this.#key === undefined) {
      const key = message.key === undefined ? undefined : fromBase64Url(message.key);
      if (key?.length !== PROBE_KEY_BYTES) return;
      this.#key = key;
      this.#begin();
      for (const { socket, from, data } of this.#early.splice(0)) this.datagram(socket, from, data);
      this.#sendOffer();
    } else if (this.#tunnel.end === "connector") this.#sendOffer();
    const { allowLoopback } = this.#options.own;
    const decoded = decodeOffer(message.offer, { allowLoopback });
    const { disabled, expect, log } = this.#options;
    if (!decoded.ok) {
      log.debug("offer refused", { peer: this.#tunnel.peer, reason: decoded.refused });
      return;
    }
    const offer = decoded.value;
    if (!disabled) expect(offer.candidates.map(({ address }) => address));
    if (!this.#peerOffer) this.#searchRelayed(this.#peerDisabled || !this.#paths ? 0 : YOUNG_MS);
    this.#peerOffer = offer;
    if (!this.#peerDisabled) this.#paths?.tell({ type: "remote", offer });
  }

  /** A probe or a reply that names this tunnel. */
  datagram(socket: SocketId, from: Address, datagram: Uint8Array): void {
    if (!this.#key && this.#early.length < MAX_EARLY_PROBES) {
      this.#early.push({ socket, from, data: datagram.slice() });
    }
    this.#paths?.tell({ type: "datagram", socket, from, datagram });
  }

  sealedDatagram(datagram: Uint8Array): void {
    this.#relayedMtu?.datagram(datagram);
  }

  keeps(packet: Uint8Array): boolean {
    return this.#loss.keeps(packet);
  }

  /** What is known of our own end has changed. */
  ownChanged(): void {
    if (!this.#paths) return;
    this.#paths.tell({ type: "local", local: this.#options.own.facts() });
    this.#lookForRebinding();
    if (this.#tunnel.end === "agent") this.#sendOffer();
    else if (this.#peerOffer) this.#sendOffer();
  }

  #lookForRebinding(): void {
    for (const family of this.#rebinding.changed(this.#options.own.candidates())) {
      this.#paths?.tell({ type: "rebound", family });
    }
  }

  /** An interface, address or route of ours changed. */
  networkChanged(): void {
    this.#paths?.tell({ type: "network-changed", elsewhere: this.#loss.elsewhere });
    this.#tunnel.poke();
  }

  /** QUIC tells of a path. */
  pathEvent(event: NativePathEvent): void {
    if (this.#tunnel.end === "agent") return this.#mover?.pathEvent(event);
    if (event.type === "New") {
      const local = addressOf(event.local.host, event.local.port);
      const peer = addressOf(event.peer.host, event.peer.port);
      this.#follower ??= new PathFollower(this.#tunnel.connection);
      const proven = this.#machine?.proven.some(({ path }) => path.remote.key === peer.key);
      this.#follower.follow({ local, peer }, proven === true);
    } else if (event.type === "PeerMigrated") {
      const { local, peer } = this.#tunnel.connection;
      this.#moved(local, peer, "the agent moved");
    }
  }

  heardStraight(from: Address): void {
    this.#straight = from;
  }

  /**
   * With these a path may be challenged. Where the handshake's own packets came straight that path will very likely be proven
   * in a moment, so QUIC asks meanwhile; the tunnel moves when it is. Not after an early start: there ids come before the other
   * end answers challenges.
   */
  idsGiven(): void {
    const from = this.#straight;
    this.#straight = undefined;
    const socket = this.#options.sockets.get(P2P_SOCKET);
    if (from && socket && !this.#tunnel.connection.resumed) {
      this.#mover?.expect({ local: socket.local, peer: from });
    }
    this.#mover?.idsGiven();
  }

  heard(): void {
    this.#mover?.heard();
  }

  stop(): void {
    this.#offers.stop();
    this.#watch.stop();
    this.#loss.stop();
    this.#mover?.stop();
    this.#follower?.stop();
    this.#paths?.tell({ type: "stop" });
    this.#paths?.stop();
    this.#relayedMtu?.stop();
    this.#guessSockets.close();
    this.#history.stop();
  }

  /** What `whyRelayed` wants to know. */
  get relayedFacts() {
    return {
      noDirect: this.#options.disabled,
      peerNoDirect: this.#peerDisabled,
      offered: this.#peerOffer !== undefined,
      peerOffer: this.#peerOffer,
      outcomes: this.#outcomes as ReadonlyMap<4 | 6, AttemptOutcome>,
    };
  }

  /** The key is there: probes can be made and opened. */
  #begin(): void {
    if (this.#codec) return;
    if (this.#tunnel.end === "agent") this.#key ??= this.#options.random(PROBE_KEY_BYTES);
    const { clock, mac, random, guessing, relayRtt, disabled, own } = this.#options;
    const { end, id, egress } = this.#tunnel;
    const codec = new ProbeCodec({ role: end, tunnelId: fromHex(id)!, key: this.#key!, mac });
    this.#codec = codec;
    const peer = end === "agent" ? RELAYED_CONNECTOR : RELAYED_AGENT;
    this.#relayedMtu = new RelayedMtu({ codec, random, clock, peer, egress });
    if (disabled) return;
    if (end === "agent") this.#mover = this.#createMover();
    const machine = this.#machine = new TunnelPaths({
      codec,
      random,
      mtuLimit: MAX_PACKET,
      ...(guessing === undefined ? {} : { guessing }),
      ...(relayRtt === undefined ? {} : { relayRtt }),
    });
    this.#paths = new Driver<TunnelPathsInput, TunnelPathsOutput>(machine, {
      clock,
      tick: { type: "time" },
      output: (output) => this.#output(output),
    });
    this.#paths.tell({ type: "local", local: own.facts() });
    this.#lookForRebinding();
  }

  #createMover(): PathMover {
    const { sockets, log } = this.#options;
    const { connection } = this.#tunnel;
    return new PathMover({
      connection,
      moved: ({ local, peer }) => this.#moved(local, peer, this.#useReason),
      failed: ({ local, peer }) => {
        log.debug("path cannot be used", { peer: this.#tunnel.peer, remote: peer.key });
        if (isRelayed(peer)) return;
        const path = { socket: sockets.idOf(local), remote: peer };
        this.#paths?.tell({ type: "migration-failed", path });
      },
    });
  }

  /** Both ends have the key: find out what the relayed path carries. */
  #searchRelayed(delayMs = 0): void {
    const { relayRtt = 100 } = this.#options;
    this.#relayedMtu?.use(relayRtt, MIN_PACKET, delayMs);
  }

  #sendOffer(): void {
    const { own, disabled } = this.#options;
    const key = this.#tunnel.end === "agent" ? this.#key : undefined;
    this.#tunnel.send(offerOf(own, { disabled, generation: ++this.#generation, key }));
  }

  #output(output: TunnelPathsOutput): void {
    const { sockets, log } = this.#options;
    const tunnel = this.#tunnel;
    switch (output.type) {
      case "send":
        sockets.get(output.socket)?.send(output.to, output.datagram, output.datagram.length);
        return;
      case "use":
        return this.#use(output);
      case "mtu":
        tunnel.egress.setPathMtu(output.path.remote, output.mtu);
        return;
      case "exchange":
        return this.#sendOffer();
      case "open-guess-sockets": {
        const opened = this.#guessSockets.open(output.count);
        this.#paths?.tell({ type: "guess-sockets", sockets: opened });
        return;
      }
      case "close-guess-sockets":
        return this.#guessSockets.close(output.keep);
      case "outcome":
        this.#outcomes.set(output.family, output.outcome);
        log.debug("no direct path", { family: output.family, outcome: output.outcome });
        return;
      case "doubt":
        // Maybe our NAT has given us other addresses: the relay has to know before anything is sent through it.
        this.#options.doubted();
        this.#options.own.refresh();
        return this.#loss.silent(output.quiet);
      case "refresh":
        return this.#options.own.refresh();
      case "rtt":
        return this.#loss.heard();
      case "dropped":
        return;
    }
  }

  #use({ path, reason, urgent }: Extract<TunnelPathsOutput, { type: "use" }>): void {
    const relayed = { local: RELAYED_AGENT, peer: RELAYED_CONNECTOR };
    const socket = path && this.#options.sockets.get(path.socket);
    if (path && !socket) return;
    const ends: PathEnds = path ? { local: socket!.local, peer: path.remote } : relayed;
    this.#useReason = reason;
    this.#loss.urgent = urgent === true;
    const { local, peer } = this.#tunnel.connection;
    if (urgent && !isRelayed(peer)) this.#mover?.died({ local, peer });
    if (urgent && path && !isPathValidated(this.#tunnel.connection, ends.local, ends.peer)) {
      this.#mover?.moveTo(relayed);
    }
    this.#mover?.moveTo(ends);
  }

  #moved(local: Address, peer: Address, reason: string): void {
    const path = this.#pathOf(local, peer);
    this.#paths?.tell({ type: "migrated", path });
    if (path) this.#relayedMtu?.release();
    else this.#searchRelayed();
    this.#tunnel.egress.setShortcuts([]);
    this.#loss.moved(peer);
    this.#history.moved(path?.remote, reason);
  }

  #pathOf(local: Address, remote: Address): DirectPath | undefined {
    return isRelayed(remote) ? undefined : { socket: this.#options.sockets.idOf(local), remote };
  }

  #noteTraffic(received: boolean): void {
    if (received && this.#tunnel.end === "agent") this.#loss.heard();
    const { peer, local } = this.#tunnel.connection;
    const path = this.#pathOf(local, peer);
    this.#paths?.tell({ type: "traffic", path, sent: true, received });
    if (!path) this.#relayedMtu?.traffic();
  }

  #silent(): void {
    // Maybe our NAT has given us another address: the relay learns it by what comes on the control connection.
    this.#options.doubted();
    this.#tunnel.poke();
  }
}
