/**
 * What connector and agent have in common: identity, two sockets, the QUIC endpoint, the link to the relay.
 * @module
 */
import type { ClientOutput } from "../control/mod.ts";
import { type Clock, type Logger, messageOf } from "../core/mod.ts";
import { VERSION } from "../core/version.ts";
import {
  type ClientIdentity,
  keepRenewed,
  KnownKeys,
  openStateFolder,
  type StateFolder,
  type StateLock,
} from "../identity/mod.ts";
import { type NativeConfig, QuicEndpoint } from "../quic/mod.ts";
import { type DualSockets, openDualSockets } from "../sockets/mod.ts";
import { type Tunnel, TUNNEL_IDLE_TIMEOUT } from "../tunnel/mod.ts";
import { FlowLedger } from "./flow_ledger.ts";
import { join } from "./joining.ts";
import type { AgentOptions, ConnectorOptions } from "./options.ts";
import { ClientWiring } from "./client_wiring.ts";
import { controlConfig } from "./control_profile.ts";
import { loadTicketKey, watchTicketKey } from "../relay/ticket_key_file.ts";
import type { TicketKey } from "../zero_rtt/mod.ts";
import { EarlyGate } from "./early_gate.ts";
import { TicketBook } from "./ticket_book.ts";
import { distrust, type ExpectedPeer } from "./peer_trust.ts";
import { rehearse } from "./rehearsal.ts";
import { RelayLink } from "./relay_link.ts";
import { RelayTicket } from "./relay_ticket.ts";
import { explainRelayed } from "./relayed_reason.ts";
import type { ClientStatus } from "./status.ts";
import { tunnelConfig } from "./tunnel_profile.ts";
import { tunnelStatus } from "./tunnel_status.ts";

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
  readonly link: RelayLink;
  readonly log: Logger;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Only the relayed path. */
  readonly noDirect: boolean;
  /** Who gets which datagram, and where this machine may be reached. */
  readonly wiring: ClientWiring;
  /** What flows have moved; for metrics. */
  readonly flows = new FlowLedger();
  /** For coming back with 0-RTT. */
  readonly tickets: TicketBook;
  /** Judges agents' early data (connector). */
  readonly gate: EarlyGate;
  /** 0-RTT is wanted. */
  readonly earlyData: boolean;
  /** Something may be sent to the relay: it is welcomed, or the first flight is being written. */
  onUsable: () => void = () => {};
  /** Silence after which a tunnel is given up, in milliseconds. */
  readonly #tunnelIdleMs: number;
  /** Connector: makes its tickets; kept, so that agents come back early after its restart, too. */
  #ticketKey: Uint8Array | undefined;
  readonly #lock: StateLock;
  readonly #startedAt = performance.now();
  /** Ends what runs in the background. */
  readonly #over = new AbortController();
  #identity: ClientIdentity;
  /** The engine's settings; made beforehand, and anew when the certificate is renewed. */
  #controlConfig: NativeConfig;
  #tunnelConfig: NativeConfig;

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
      ticketKey: TicketKey | undefined;
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
    this.#ticketKey = parts.ticketKey?.key;
    this.earlyData = options.noEarlyData !== true;
    this.#tunnelIdleMs = options.tunnelIdleMs ?? TUNNEL_IDLE_TIMEOUT;
    this.#controlConfig = this.#makeControlConfig();
    this.#tunnelConfig = this.#makeTunnelConfig();
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
      followed: () => this.wiring.followed(),
      observe: (asking) => this.wiring.observe(asking),
      kind: identity.kind,
      relays: () => this.#identity.relays,
      serverName: identity.relayServerName,
      config: () => this.#controlConfig,
      endpoint: this.endpoint,
      socket: sockets.relay,
      clock: this.clock,
      log: this.log,
      output: parts.output,
    });
    this.noDirect = options.noDirect === true;
    this.wiring = new ClientWiring({
      kind: identity.kind,
      sockets,
      endpoint: this.endpoint,
      link: () => this.link,
      flows: this.flows,
      clock: this.clock,
      log: this.log,
      noDirect: this.noDirect,
      guessing: options.noPortGuessing !== true,
      tunnelIdleMs: this.#tunnelIdleMs,
      stoodStill: (ms) => this.gate.stoodStill(ms),
    });
    if (parts.ticketKey) {
      watchTicketKey(this.folder, {
        current: parts.ticketKey,
        clock: this.clock,
        log: this.log,
        signal: this.#over.signal,
        changed: ({ key }) => {
          this.#ticketKey = key;
          this.#tunnelConfig = this.#makeTunnelConfig();
        },
      });
    }
    void keepRenewed(this.folder, identity, {
      clock: options.clock,
      log: options.log,
      signal: this.#over.signal,
      onRenewed: (renewed) => {
        this.#identity = renewed.identity;
        this.#controlConfig = this.#makeControlConfig();
        this.#tunnelConfig = this.#makeTunnelConfig();
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
        ? await loadTicketKey(folder, { now: options.clock.unix(), log })
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

  /** The engine's settings for tunnels. */
  get tunnelConfig(): NativeConfig {
    return this.#tunnelConfig;
  }

  #makeControlConfig(): NativeConfig {
    return controlConfig(this.credentials, { earlyData: this.earlyData });
  }

  #makeTunnelConfig(): NativeConfig {
    return tunnelConfig(this.credentials, {
      earlyData: this.earlyData,
      idleTimeoutMs: this.#tunnelIdleMs,
      ...(this.#ticketKey ? { ticketKey: this.#ticketKey } : {}),
    });
  }

  /**
   * Plays a tunnel with itself after `delayMs`, so that the first real one finds this process warm; not where one was faster, as
   * `idle` then says.
   */
  rehearse(delayMs: number, idle: () => boolean): void {
    const { signal } = this.#over;
    const timer = setTimeout(async () => {
      if (signal.aborted || !idle()) return;
      const { clock, noDirect } = this;
      const { direct, ms } = await rehearse({ config: this.tunnelConfig, clock, noDirect, signal });
      this.log.debug("ready for the first tunnel", { direct, ms: Math.round(ms) });
    }, delayMs);
    signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
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
            v4: (this.link.observed.v4 ?? this.wiring.relayPaths.v4.observed)?.key ?? null,
            v6: (this.link.observed.v6 ?? this.wiring.relayPaths.v6.observed)?.key ?? null,
          },
        },
        p2p: {
          local: this.sockets.p2p.local.key,
          observed: {
            v4: this.wiring.paths.v4.observed?.key ?? null,
            v6: this.wiring.paths.v6.observed?.key ?? null,
          },
        },
      },
      services: parts.services,
      endpoints: parts.endpoints,
      // One that was closed lingers for a while, until what it had to say has surely arrived; nothing runs in it.
      tunnels: parts.tunnels.filter(({ closed }) => !closed).map((tunnel) =>
        tunnelStatus(tunnel, {
          relay: this.link.address?.key ?? null,
          whyRelayed: (relayed) => explainRelayed(relayed, this.wiring.paths),
        })
      ),
      early: this.kind === "connector" ? this.gate.counts : null,
      certificateExpires: new Date(this.#identity.notAfter).toISOString(),
    };
  }

  /** Closes everything; the tunnels' other ends are told. */
  async close(text: string): Promise<void> {
    this.#over.abort();
    // The control connection goes last: with it the relay forgets where to send what the tunnels still say.
    await this.endpoint.closeInOrder(text, { withinMs: GOODBYE_MS, except: this.link.connection });
    this.link.stop();
    this.endpoint.close(text);
    this.wiring.stop();
    this.sockets.close();
    await this.knownKeys.flush();
    await this.tickets.flush();
    await this.gate.close();
    await this.#lock.release();
  }
}
