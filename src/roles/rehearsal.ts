/**
 * Plays a whole tunnel once, both ends in this process and over no network: handshake, offers, probes, a flow, the move to a
 * direct path. Nobody sees it.
 *
 * What runs for the first time in a process is slow: its code is compiled, the libraries load what they need, the first
 * signature is made. For a connector's first tunnel that was 50 ms and more in the midst of the handshake, a third of the time
 * until it was direct. Played beforehand, while nothing is to be done, it costs nobody anything.
 *
 * ```
 * agent end -- relay socket --> "relay", in memory --> relay socket -- connector end
 *     '------------------- P2P sockets, in memory ------------------------'
 * ```
 * @module
 */
import { addressOf, type Clock, SILENT_LOGGER, toHex } from "../core/mod.ts";
import { parsePeerCertificate } from "../identity/mod.ts";
import type { ByteConn } from "../mux/mod.ts";
import { type ConnectionHandler, type NativeConfig, QuicEndpoint } from "../quic/mod.ts";
import { MemoryNetwork, type UdpSocket } from "../sockets/mod.ts";
import { RELAYED_AGENT, RELAYED_CONNECTOR, Tunnel, TunnelEgress } from "../tunnel/mod.ts";
import { ClientWiring, type WiringLink } from "./client_wiring.ts";
import { FlowLedger } from "./flow_ledger.ts";
import { randomBytes } from "./primitives.ts";

/** Longer than it takes on a busy machine, in milliseconds. */
const PATIENCE = 3_000;

/** Echoes on the flow: more than one, as code that ran once is not yet fast. */
const ECHOES = 8;

/** Documentation addresses (RFC 5737): they are in memory only. */
const RELAY_AT = addressOf("192.0.2.1", 4433);
const HOSTS = { agent: "192.0.2.2", connector: "192.0.2.3" } as const;

type End = keyof typeof HOSTS;

/** What is played with. */
export interface RehearsalOptions {
  /** That of the process's tunnels, so that it is ready, too. It serves both ends. */
  readonly config: NativeConfig;
  readonly clock: Clock;
  /** Only the relayed path. */
  readonly noDirect: boolean;
  /** Ends it before its end. */
  readonly signal: AbortSignal;
}

/** How far it came, and how long that took. */
export interface RehearsalReport {
  readonly direct: boolean;
  readonly ms: number;
}

/** Plays it. Never throws; whatever does not work in it will say so when it is for real. */
export async function rehearse(options: RehearsalOptions): Promise<RehearsalReport> {
  const startedAt = performance.now();
  let stage: Stage | undefined;
  let direct = false;
  try {
    stage = new Stage(options);
    direct = await stage.play();
  } catch {
    // See above.
  } finally {
    stage?.close();
  }
  return { direct, ms: performance.now() - startedAt };
}

/** One end: what a role has of it. */
interface Player {
  readonly endpoint: QuicEndpoint;
  readonly wiring: ClientWiring;
  readonly sockets: { readonly relay: UdpSocket; readonly p2p: UdpSocket };
}

class Stage {
  readonly #options: RehearsalOptions;
  readonly #network = new MemoryNetwork({ automatic: true });
  readonly #id = toHex(randomBytes(8));
  readonly #agent: Player;
  readonly #connector: Player;
  #tunnels: Tunnel[] = [];

  constructor(options: RehearsalOptions) {
    this.#options = options;
    this.#agent = this.#createPlayer("agent");
    this.#connector = this.#createPlayer("connector");
    this.#openRelay();
  }

  /** Answers whether the tunnel came to be direct. */
  async play(): Promise<boolean> {
    const { signal } = this.#options;
    const over = Promise.withResolvers<never>();
    over.promise.catch(() => {});
    const end = () => over.reject(new Error("the rehearsal is over"));
    const timer = setTimeout(end, PATIENCE);
    signal.addEventListener("abort", end, { once: true });
    try {
      return await Promise.race([this.#scenes(), over.promise]);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
    }
  }

  close(): void {
    for (const tunnel of this.#tunnels) tunnel.close("the rehearsal is over");
    for (const { endpoint, wiring, sockets } of [this.#agent, this.#connector]) {
      endpoint.close("the rehearsal is over");
      wiring.stop();
      sockets.relay.close();
    }
  }

  async #scenes(): Promise<boolean> {
    const { router } = this.#connector.wiring;
    router.add(this.#id, (packet) => this.#accept(packet));
    this.#seen("connector");
    const tunnel = this.#connect();
    const direct = Promise.withResolvers<void>();
    tunnel.direct?.onChange(({ path }) => path === "direct" && direct.resolve());
    await tunnel.ready;
    const { conn, done } = echoingConn(ECHOES);
    const flow = await tunnel.openTcp("rehearsal", "");
    void flow.pipe(conn).catch(() => {});
    await done;
    if (!this.#options.noDirect) await direct.promise;
    await tunnel.ping();
    return tunnel.path === "direct";
  }

  #createPlayer(end: End): Player {
    const { clock, noDirect } = this.#options;
    const host = HOSTS[end];
    const endpoint = new QuicEndpoint();
    const relay = this.#network.open(host, 0);
    const p2p = this.#network.open(host, 0);
    const sockets = { relay, p2p };
    const wiring = new ClientWiring({
      kind: end,
      sockets: { ...sockets, close: () => {} },
      endpoint,
      link: () => NO_LINK,
      flows: new FlowLedger(),
      clock,
      log: SILENT_LOGGER,
      noDirect,
      guessing: false,
    });
    // As the relay has told.
    wiring.paths.v4.observed = p2p.local;
    return { endpoint, wiring, sockets };
  }

  /** Forwards what one end sends to the other. */
  #openRelay(): void {
    const socket = this.#network.open(RELAY_AT.host, RELAY_AT.port);
    const [agent, connector] = [
      this.#agent.sockets.relay.local,
      this.#connector.sockets.relay.local,
    ];
    socket.receive({
      datagrams: (data, segmentSize, from) => {
        socket.send(from.key === agent.key ? connector : agent, data, segmentSize);
      },
      batchEnd: () => {},
    });
  }

  /** The relay tells this end where it sees the other one. */
  #seen(end: End): void {
    const [own, other] = end === "agent"
      ? [this.#agent, this.#connector]
      : [this.#connector, this.#agent];
    own.wiring.peerSeen(this.#id, [other.sockets.p2p.local.key]);
  }

  #connect(): Tunnel {
    const { endpoint, wiring } = this.#agent;
    const egress = new TunnelEgress(this.#id, wiring.wires);
    const tunnel = Tunnel.create({
      id: this.#id,
      end: "agent",
      peer: "rehearsal",
      egress,
      log: SILENT_LOGGER,
      verify: (certificates) => Promise.resolve(check(certificates)),
      stamp: { nonce: "", issuedAt: null },
      onOpen: (opened) => opened.direct?.start(),
    }, (handler) =>
      endpoint.connect({
        config: this.#options.config,
        egress,
        local: RELAYED_AGENT,
        peer: RELAYED_CONNECTOR,
        handler,
      }));
    this.#tunnels.push(tunnel);
    wiring.attach(tunnel);
    this.#seen("agent");
    return tunnel;
  }

  #accept(packet: Uint8Array): void {
    const { endpoint, wiring } = this.#connector;
    const egress = new TunnelEgress(this.#id, wiring.wires);
    endpoint.accept(packet, RELAYED_AGENT, RELAYED_CONNECTOR, {
      config: this.#options.config,
      egress,
      handler: (connection) => {
        let handler: ConnectionHandler = {};
        const tunnel = Tunnel.create({
          id: this.#id,
          end: "connector",
          peer: "rehearsal",
          egress,
          log: SILENT_LOGGER,
          verify: check,
          welcome: () => ({ now: 0, noEarlyServices: [] }),
          accept: () => Promise.resolve(echo()),
          onOpen: (opened) => opened.direct?.start(),
        }, (made) => {
          handler = made;
          return connection;
        });
        this.#tunnels.push(tunnel);
        wiring.attach(tunnel);
        this.#seen("connector");
        return handler;
      },
    });
  }
}

/** A link that leads to the relay of the rehearsal, and that has nothing to say. */
const NO_LINK: WiringLink = {
  address: RELAY_AT,
  addresses: [RELAY_AT],
  tell: () => {},
  poke: () => {},
  networkChanged: () => {},
  slept: () => {},
  unknownThere: () => {},
  status: () => ({ rttMs: null }),
};

/** Both ends show this machine's own certificate. */
function check(certificates: readonly Uint8Array[]): string | undefined {
  const peer = certificates[0] && parsePeerCertificate(certificates[0]);
  return peer ? undefined : "no certificate of ours";
}

/** A service that answers with what it is told. */
function echo(): ByteConn {
  const waiting: Uint8Array[] = [];
  let more = Promise.withResolvers<void>();
  let closed = false;
  return {
    async read(into) {
      while (waiting.length === 0 && !closed) await more.promise;
      const next = waiting.shift();
      if (!next) return null;
      into.set(next);
      return next.length;
    },
    write(data) {
      waiting.push(data.slice());
      more.resolve();
      more = Promise.withResolvers();
      return Promise.resolve(data.length);
    },
    closeWrite: () => Promise.resolve(),
    close() {
      closed = true;
      more.resolve();
    },
  };
}

/** An application that says a byte, waits for the answer, and so on. */
function echoingConn(rounds: number): { conn: ByteConn; done: Promise<void> } {
  const done = Promise.withResolvers<void>();
  let answered = Promise.resolve();
  let next = Promise.withResolvers<void>();
  let left = rounds;
  const conn: ByteConn = {
    async read(into) {
      await answered;
      answered = next.promise;
      if (left-- <= 0) {
        done.resolve();
        return null;
      }
      into[0] = left;
      return 1;
    },
    write(data) {
      next.resolve();
      next = Promise.withResolvers();
      return Promise.resolve(data.length);
    },
    closeWrite: () => Promise.resolve(),
    close: () => done.resolve(),
  };
  return { conn, done: done.promise };
}
