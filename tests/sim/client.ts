/**
 * A simulated end of a tunnel: address discovery, the tunnel's direct side, and a stand-in for QUIC that validates a path
 * and moves to it.
 * @module
 */
import { type Address, addressOf } from "../../src/core/address.ts";
import { formatHostPort } from "../../src/core/address.ts";
import type { Millis } from "../../src/core/clock.ts";
import {
  type AttemptOutcome,
  type Candidate,
  decodeOffer,
  type DirectPath,
  encodeOffer,
  isSamePath,
  type Mappings,
  P2P_SOCKET,
  type PathOffer,
  type PathRole,
  ProbeCodec,
  type SocketId,
  TunnelPaths,
  type TunnelPathsInput,
  type TunnelPathsOutput,
  uniqueCandidates,
} from "../../src/path/mod.ts";
import { Discovery, type DiscoveryInput, type DiscoveryOutput } from "../../src/qad/mod.ts";
import { Driver } from "./driver.ts";
import type { Network, Site } from "./network.ts";
import { quickMac } from "./quick_mac.ts";
import type { SimRelay } from "./relay.ts";

/** Something that happened, with its time. */
export interface Happening {
  readonly at: Millis;
  readonly what: TunnelPathsOutput["type"] | "migrated" | "offer";
  readonly path?: DirectPath | undefined;
  readonly detail?: string | number | undefined;
}

/** How to make a client. */
export interface ClientOptions {
  readonly role: PathRole;
  readonly network: Network;
  readonly relay: SimRelay;
  readonly site: Site;
  /** Private or public addresses, without ports. */
  readonly hosts: readonly string[];
  readonly guessing?: boolean;
}

const P2P_PORT = 51_001;
const TUNNEL_ID = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
const PROBE_KEY = Uint8Array.of(9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9);
const PATH_CHALLENGE = 0x40;
const PATH_RESPONSE = 0x41;
const DATA = 0x42;

/** One end of a tunnel. */
export class SimClient {
  readonly options: ClientOptions;
  readonly happenings: Happening[] = [];
  readonly outcomes = new Map<4 | 6, AttemptOutcome>();
  readonly observed = new Map<4 | 6, Address[]>();
  mapping: Mappings = {};
  /** Where the tunnel runs; `undefined`: relayed. */
  path: DirectPath | undefined;
  mtu = 1200;
  /** Largest number of extra sockets open at once. */
  mostSockets = 0;
  /** When data last arrived from the other end, by whichever path. */
  readonly arrivals: { at: Millis; direct: boolean }[] = [];
  #hosts: readonly string[];
  #peer: SimClient | undefined;
  #paths: TunnelPaths;
  #driver: Driver<TunnelPathsInput, TunnelPathsOutput>;
  #discovery: Driver<DiscoveryInput, DiscoveryOutput>;
  #sockets = new Map<SocketId, number>([[P2P_SOCKET, P2P_PORT]]);
  #nextSocket = 1;
  #generation = 0;
  #joined = false;
  #pending: { path: DirectPath; timer: number } | undefined;
  #challenge = 0;

  constructor(options: ClientOptions) {
    this.options = options;
    this.#hosts = options.hosts;
    const { network, relay, role } = options;
    const { scheduler } = network;
    const random = network.random.bytes;
    const codec = new ProbeCodec({ role, tunnelId: TUNNEL_ID, key: PROBE_KEY, mac: quickMac });
    this.#paths = new TunnelPaths({
      codec,
      random,
      relayRtt: 80,
      ...(options.guessing !== undefined && { guessing: options.guessing }),
    });
    this.#driver = new Driver(this.#paths, {
      scheduler,
      time: { type: "time" },
      carry: (out) => this.#carry(out),
    });
    this.#discovery = new Driver<DiscoveryInput, DiscoveryOutput>(
      new Discovery({ mac: quickMac, random }),
      { scheduler, time: { type: "time" }, carry: (out) => this.#learn(out) },
    );
    this.#listen(P2P_SOCKET);
    const key = relay.keys.issue(random);
    this.#discovery.tell({ type: "targets", targets: relay.targets, key });
    this.#tellLocal();
  }

  get tell(): (input: TunnelPathsInput) => void {
    return this.#driver.tell;
  }

  get proven(): TunnelPaths["proven"] {
    return this.#paths.proven;
  }

  /** Joins two ends: the agent's offer goes first, the connector answers with its own. */
  join(peer: SimClient): void {
    this.#peer = peer;
    peer.#peer = this;
    this.#joined = peer.#joined = true;
    this.#offer();
  }

  /** New addresses (or the old ones): what a role does when the system says that the network changed. */
  changeNetwork(hosts: readonly string[] = this.#hosts): void {
    for (const socket of this.#sockets.keys()) this.#unlisten(socket);
    this.#hosts = hosts;
    for (const socket of this.#sockets.keys()) this.#listen(socket);
    this.observed.clear();
    this.mapping = {};
    this.#discovery.tell({ type: "network-changed" });
    this.#driver.tell({ type: "network-changed" });
    this.#tellLocal();
    if (this.#joined) this.#offer();
  }

  /** Sends to the other end on the tunnel's path every `every` milliseconds, until `until`; the other end acknowledges. */
  talk(options: { every: Millis; until: Millis }): void {
    const { scheduler } = this.options.network;
    if (scheduler.now() > options.until) return;
    this.#sendData(this.mtu);
    scheduler.after(options.every, () => this.talk(options));
  }

  #families(): (4 | 6)[] {
    return ([4, 6] as const).filter((family) =>
      this.#hosts.some((host) => addressOf(host, 1).family === family)
    );
  }

  #tellLocal(): void {
    const local = { families: this.#families(), mapping: this.mapping };
    this.#driver.tell({ type: "local", local });
  }

  #candidates(): Candidate[] {
    const host = this.#hosts.map((address): Candidate => ({
      kind: "host",
      address: addressOf(address, P2P_PORT),
    }));
    const observed = [...this.observed.values()].flat()
      .map((address): Candidate => ({ kind: "observed", address }));
    return uniqueCandidates([...host, ...observed]);
  }

  // --- the other end ----------------------------------------------------------------------------------------------------

  #offer(): void {
    const peer = this.#peer!;
    const offer: PathOffer = {
      generation: ++this.#generation,
      candidates: this.#candidates(),
      mapping: this.mapping,
    };
    const json = JSON.stringify(encodeOffer(offer));
    this.options.relay.carry(this.options.site, peer.options.site, () => peer.#takeOffer(json));
  }

  #takeOffer(json: string): void {
    const decoded = decodeOffer(JSON.parse(json));
    if (!decoded.ok) throw new Error(decoded.refused);
    this.#note({ what: "offer" });
    // The connector's answer leaves before its first probe, as in the real order of things.
    if (this.options.role === "connector") this.#offer();
    this.#driver.tell({ type: "remote", offer: decoded.value });
  }

  // --- sockets ----------------------------------------------------------------------------------------------------------

  #listen(socket: SocketId): void {
    const port = this.#sockets.get(socket)!;
    for (const host of this.#hosts) {
      const key = formatHostPort({ host, port });
      this.options.site.listeners.set(key, (data, from) => this.#receive(socket, from, data));
    }
  }

  #unlisten(socket: SocketId): void {
    const port = this.#sockets.get(socket)!;
    for (const host of this.#hosts) {
      this.options.site.listeners.delete(formatHostPort({ host, port }));
    }
  }

  #send(socket: SocketId, to: Address, datagram: Uint8Array): void {
    const port = this.#sockets.get(socket);
    const host = this.#hosts.find((mine) => addressOf(mine, 1).family === to.family);
    if (port === undefined || host === undefined) return;
    const { network, site } = this.options;
    network.send(site, { from: addressOf(host, port), to, datagram });
  }

  #receive(socket: SocketId, from: Address, datagram: Uint8Array): void {
    const path: DirectPath = { socket, remote: from };
    switch (datagram[0]) {
      case 0x04:
        return this.#discovery.tell({ type: "datagram", datagram });
      case 0x05:
      case 0x06:
        return this.#driver.tell({ type: "datagram", socket, from, datagram });
      case PATH_CHALLENGE:
        datagram = datagram.slice();
        datagram[0] = PATH_RESPONSE;
        return this.#send(socket, from, datagram);
      case PATH_RESPONSE:
        if (isSamePath(path, this.#pending?.path) && datagram[1] === (this.#challenge & 0xff)) {
          this.#migrated(path);
        }
        return;
      case DATA:
        return this.#takeData(path, datagram);
    }
  }

  // --- the tunnel -------------------------------------------------------------------------------------------------------

  #carry(out: TunnelPathsOutput): void {
    switch (out.type) {
      case "send":
        return this.#send(out.socket, out.to, out.datagram);
      case "use":
        this.#note({ what: "use", path: out.path, detail: out.reason });
        if (out.path) this.#validate(out.path, 0);
        else this.#migrated(undefined);
        return;
      case "refresh":
        return this.#discovery.tell({ type: "refresh" });
      case "mtu":
        if (isSamePath(out.path, this.path)) this.mtu = out.mtu;
        return this.#note({ what: "mtu", path: out.path, detail: out.mtu });
      case "exchange":
        return this.#offer();
      case "outcome":
        this.outcomes.set(out.family, out.outcome);
        return this.#note({ what: "outcome", detail: out.outcome });
      case "open-guess-sockets":
        return this.#openSockets(out.count);
      case "close-guess-sockets":
        for (const socket of [...this.#sockets.keys()]) {
          if (socket === P2P_SOCKET || socket === out.keep) continue;
          this.#unlisten(socket);
          this.#sockets.delete(socket);
        }
        return this.#note({ what: "close-guess-sockets", detail: out.keep });
      case "rtt":
      case "dropped":
        return;
    }
  }

  #openSockets(count: number): void {
    const { scheduler } = this.options.network;
    // Opening takes a real machine a few milliseconds.
    scheduler.after(5, () => {
      const sockets: SocketId[] = [];
      for (let i = 0; i < count; i++) {
        const socket = this.#nextSocket++;
        this.#sockets.set(socket, 10_000 + socket);
        this.#listen(socket);
        sockets.push(socket);
      }
      this.mostSockets = Math.max(this.mostSockets, this.#sockets.size - 1);
      this.#driver.tell({ type: "guess-sockets", sockets });
    });
  }

  /** QUIC's path validation (RFC 9000 §8.2): three tries, then it failed. */
  #validate(path: DirectPath, tries: number): void {
    const { scheduler } = this.options.network;
    const timer = ++this.#challenge;
    this.#pending = { path, timer };
    const datagram = new Uint8Array(1200);
    datagram[0] = PATH_CHALLENGE;
    datagram[1] = this.#challenge & 0xff;
    this.#send(path.socket, path.remote, datagram);
    scheduler.after(150, () => {
      if (this.#pending?.timer !== timer) return;
      if (tries < 2) return this.#validate(path, tries + 1);
      this.#pending = undefined;
      this.#driver.tell({ type: "migration-failed", path });
    });
  }

  #migrated(path: DirectPath | undefined): void {
    this.#pending = undefined;
    this.path = path;
    this.mtu = 1200;
    this.#note({ what: "migrated", path });
    this.#driver.tell({ type: "migrated", path });
    if (this.options.role === "agent") this.#sendData(100);
  }

  #sendData(size: number): void {
    const { path } = this;
    this.#driver.tell({ type: "traffic", path, sent: true, received: false });
    const datagram = new Uint8Array(size);
    datagram[0] = DATA;
    if (path) return this.#send(path.socket, path.remote, datagram);
    const peer = this.#peer!;
    this.options.relay.carry(
      this.options.site,
      peer.options.site,
      () => peer.#takeData(undefined, datagram),
    );
  }

  #takeData(path: DirectPath | undefined, datagram: Uint8Array): void {
    this.arrivals.push({ at: this.options.network.scheduler.now(), direct: path !== undefined });
    // The server follows its client (RFC 9000 §9.3).
    if (this.options.role === "connector") {
      const same = path ? isSamePath(path, this.path) : this.path === undefined;
      if (!same) this.#migrated(path);
      this.#driver.tell({ type: "traffic", path, sent: false, received: true });
      if (datagram.length > 50) this.#sendData(50);
    } else {
      this.#driver.tell({ type: "traffic", path, sent: false, received: true });
    }
  }

  #learn(out: DiscoveryOutput): void {
    switch (out.type) {
      case "send":
        return this.#send(P2P_SOCKET, out.to, out.datagram);
      case "observed":
        this.observed.set(out.family, [out.address]);
        break;
      case "mapping":
        this.observed.set(out.family, [...out.seen]);
        this.mapping = {
          ...this.mapping,
          [out.family === 4 ? "v4" : "v6"]: out.behaviour,
        };
        break;
      case "unreachable":
        this.observed.delete(out.family);
        return;
    }
    this.#tellLocal();
    if (this.#joined) this.#offer();
  }

  #note(happening: Omit<Happening, "at">): void {
    this.happenings.push({ at: this.options.network.scheduler.now(), ...happening });
  }
}
