/**
 * The relay's control connections: each has a QUIC connection, a session machine and a control stream; all share the registry.
 *
 * ```
 * QUIC connection <-> control stream <-> RelaySession --requests--> Registry --routes--> Forwarder
 *                                            ^                        |
 *                                            +-------- messages ------+
 * ```
 * @module
 */
import {
  type ClientKind,
  type ClientMessageOf,
  FrameChannel,
  parseClientMessage,
  RelaySession,
  type RelaySessionInput,
  type RelaySessionOutput,
} from "../control/mod.ts";
import {
  type Address,
  type Clock,
  Driver,
  type Logger,
  messageOf,
  type Millis,
} from "../core/mod.ts";
import { parsePeerCertificate, type PeerIdentity, serverNameOf } from "../identity/mod.ts";
import { encodeQadAddress } from "../qad/mod.ts";
import {
  type ConnectionHandler,
  describeClose,
  type QuicConnection,
  type QuicStream,
} from "../quic/mod.ts";
import type { Enrolment } from "../relay/enrolment.ts";
import type { Forwarder } from "../relay/forwarder.ts";
import {
  type PolicySnapshot,
  Registry,
  type RegistryInput,
  type RegistryOutput,
  type RegistrySession,
  type RegistryTunnel,
  type SessionId,
} from "../relay/registry.ts";
import { NOT_WELCOME } from "../relay/standing.ts";
import type { RelayStore } from "../relay/store.ts";
import type { EarlyGate } from "./early_gate.ts";
import type { RelayClientStatus } from "./status.ts";

/** What the relay's clients need of it. */
export interface RelayClientsOptions {
  readonly store: RelayStore;
  readonly enrolment: Enrolment;
  readonly forwarder: Forwarder;
  readonly policy: PolicySnapshot;
  readonly clock: Clock;
  readonly log: Logger;
  readonly networkId: string;
  /** The relay's other ports to ask at. */
  readonly observePorts: number[];
  /** A client's key for asking where it is seen. */
  readonly observeKey: (party: string) => { id: string; key: string };
  /** Judges what comes before the handshake is over. */
  readonly gate: EarlyGate;
  /** Makes sure that what the store says now is what the registry goes by. */
  readonly refreshPolicy: () => void;
}

/** Early data older than this is served after the handshake only. */
const MAX_EARLY_AGE_MS = 10_000;

/** Between certificates for one connection, in milliseconds: they are good for days. */
const RENEW_INTERVAL_MS = 10_000;

interface RelayClient {
  readonly id: SessionId;
  readonly connection: QuicConnection;
  readonly since: number;
  identity: PeerIdentity | undefined;
  /** On the clock; a certificate costs signatures and a write to the disk. */
  mayRenewAt: Millis;
  session: Driver<RelaySessionInput, RelaySessionOutput> | undefined;
  channel: FrameChannel | undefined;
  /** A hello that came early and has to wait for the handshake. */
  held: Hello | undefined;
  /** Of the key that it asks with where it is seen. */
  keyId: string | undefined;
  /** Was its hello early, and acted on? */
  early: "accepted" | "refused" | "none";
}

type Hello = ClientMessageOf<"hello">;

/** See the module's head. */
export class RelayClients {
  readonly #options: RelayClientsOptions;
  readonly #clients = new Map<SessionId, RelayClient>();
  /** Who asks with which key: one for each client that is welcome. */
  readonly #byKey = new Map<string, SessionId>();
  readonly #machine: Registry;
  readonly #registry: Driver<RegistryInput, RegistryOutput>;
  #nextId = 1;

  constructor(options: RelayClientsOptions) {
    this.#options = options;
    this.#machine = new Registry({ policy: options.policy });
    this.#registry = new Driver<RegistryInput, RegistryOutput>(this.#machine, {
      clock: options.clock,
      tick: { type: "tick" },
      output: (output) => this.#registryOutput(output),
    });
  }

  /** Handles a connection that was just accepted. */
  handlerOf(connection: QuicConnection): ConnectionHandler {
    const client: RelayClient = {
      id: this.#nextId++,
      connection,
      since: performance.now(),
      identity: undefined,
      mayRenewAt: -Infinity,
      session: undefined,
      channel: undefined,
      held: undefined,
      keyId: undefined,
      early: "none",
    };
    return {
      established: () => this.#established(client),
      stream: (stream) => this.#stream(client, stream),
      path: (event) => {
        if (event.type !== "PeerMigrated") return;
        this.#options.log.info("client's address changed", {
          client: client.identity?.name,
          address: connection.peer.key,
        });
        this.#registry.tell({ type: "address", session: client.id, address: connection.peer });
        this.#tellAddress(client);
      },
      closed: (reason) => {
        client.session?.tell({ type: "lost" });
        client.session?.stop();
        if (!this.#clients.delete(client.id)) return;
        const { keyId } = client;
        if (keyId && this.#byKey.get(keyId) === client.id) this.#byKey.delete(keyId);
        this.#registry.tell({ type: "close", session: client.id });
        this.#options.log.info("client left", {
          kind: client.identity?.kind,
          name: client.identity?.name,
          reason: describeClose(reason),
        });
      },
    };
  }

  /** The client with this key has asked from there where its socket for direct paths is seen. */
  asked(keyId: string, from: Address): void {
    const session = this.#byKey.get(keyId);
    if (session !== undefined) this.#registry.tell({ type: "asked", session, from });
  }

  /** Who may do what has changed. */
  setPolicy(policy: PolicySnapshot): void {
    this.#registry.tell({ type: "policy", policy });
  }

  /** Tells every client that the relay is about to stop. */
  drain(graceMs: number): void {
    this.#registry.tell({ type: "drain", graceMs });
  }

  stop(): void {
    this.#registry.stop();
    for (const { session } of this.#clients.values()) session?.stop();
  }

  get sessions(): Iterable<Readonly<RegistrySession>> {
    return this.#machine.sessions;
  }

  get tunnels(): Iterable<Readonly<RegistryTunnel>> {
    return this.#machine.tunnels;
  }

  /** For status. */
  status(): RelayClientStatus[] {
    return [...this.#machine.sessions].map((session) => {
      const client = this.#clients.get(session.id);
      const { kind, name } = session.identity;
      return {
        name,
        kind,
        address: session.address.key,
        connectedSeconds: Math.floor((performance.now() - (client?.since ?? 0)) / 1000),
        services: kind === "connector"
          ? [...session.offered]
          : this.#machine.servicesFor(kind, name),
        rttMs: client?.connection.rttMs() ?? null,
      };
    });
  }

  #established(client: RelayClient): void {
    if (!client.session && !this.#admit(client)) return;
    this.#tellAddress(client);
    if (client.held) this.#serve(client, client.held);
    client.held = undefined;
  }

  /**
   * The engine has checked the certificate (with a ticket: when the ticket was made); here it is whether its holder is still
   * welcome. Before anything that it says is read.
   */
  #admit(client: RelayClient): boolean {
    const { store, clock, log } = this.#options;
    const der = client.connection.peerCertificates()?.[0];
    const identity = der && parsePeerCertificate(der);
    if (!identity || identity.kind === "relay") {
      log.warn("client refused", {
        address: client.connection.peer.key,
        reason: "its certificate is no client's",
      });
      client.connection.close(1, "this certificate is no client's");
      return false;
    }
    const { kind, name, pin } = identity;
    let standing: keyof typeof NOT_WELCOME | "good" = store.standingOf({ kind, name, pin });
    // Resumption does not look at the certificate's dates again, so we do.
    if (standing === "good" && clock.unix() > identity.notAfter) standing = "expired";
    if (standing !== "good") {
      log.warn("client refused", { kind, name, reason: standing });
      client.connection.close(1, `Cannot serve ${kind} "${name}" as ${NOT_WELCOME[standing]}`);
      return false;
    }
    client.identity = identity;
    client.session = new Driver<RelaySessionInput, RelaySessionOutput>(
      new RelaySession(kind as ClientKind, clock.now()),
      {
        clock,
        tick: { type: "tick" },
        output: (output) => this.#sessionOutput(client, output),
      },
    );
    this.#clients.set(client.id, client);
    // Arms the timer for the hello.
    client.session.tell({ type: "tick" });
    return true;
  }

  /** As a DATAGRAM: lost or late is no harm, the next change tells again. */
  #tellAddress(client: RelayClient): void {
    client.connection.sendDatagram(encodeQadAddress(client.connection.peer));
  }

  #stream(client: RelayClient, stream: QuicStream): void {
    if (client.channel || (!client.session && !this.#admit(client))) return;
    const session = client.session!;
    client.channel = new FrameChannel(stream, {
      frame: (json) => {
        const parsed = parseClientMessage(json);
        if ("ok" in parsed) session.tell({ type: "message", message: parsed.ok });
        else session.tell({ type: "refusal", refusal: parsed.refused });
      },
      refused: ({ message }) =>
        session.tell({ type: "refusal", refusal: { code: "protocol", message } }),
    });
  }

  #sessionOutput(client: RelayClient, output: RelaySessionOutput): void {
    switch (output.type) {
      case "send":
        client.channel?.send(output.message);
        return;
      case "hello":
        return this.#hello(client, output.hello);
      case "request":
        if (output.request.type === "renew") void this.#renew(client, output.request.csr);
        else {
          this.#registry.tell({ type: "request", session: client.id, request: output.request });
        }
        return;
      case "close":
        this.#options.log.debug("client session ends", {
          name: client.identity?.name,
          code: output.code,
          reason: output.message,
        });
        // What was sent last is on its way with the close; the stream's bytes go first.
        client.connection.close(1, output.message.slice(0, 200));
    }
  }

  /** A hello that came early is acted on once, or not before the handshake has proven that its sender is there. */
  #hello(client: RelayClient, hello: Hello): void {
    const { identity, connection } = client;
    if (!identity) return;
    if (!connection.established) {
      const { nonce, issuedAt } = hello;
      const who = `${identity.kind}:${identity.name}`;
      const decision = this.#options.gate.judge({ identity: who, nonce, issuedAt });
      if (decision.act !== "now") {
        this.#options.log.debug("early hello waits for the handshake", {
          name: identity.name,
          reason: decision.reason,
        });
        client.held = hello;
        client.early = "refused";
        return;
      }
      client.early = "accepted";
    }
    this.#serve(client, hello);
  }

  #serve(client: RelayClient, hello: Hello): void {
    const { identity } = client;
    if (!identity || identity.kind === "relay") return;
    const { kind, name, pin, networkId } = identity;
    const { observePorts } = this.#options;
    const observeKey = this.#options.observeKey(`${kind}:${name}:${pin}`);
    client.keyId = observeKey.id;
    this.#byKey.set(observeKey.id, client.id);
    // Whoever has just joined, or was just granted something, comes sooner than the next look at the store.
    this.#options.refreshPolicy();
    // Before welcome: requests that came with a hello that had to wait go to the registry right behind it.
    this.#registry.tell({
      type: "open",
      session: client.id,
      identity: { kind, name, pin, serverName: serverNameOf({ kind, name, networkId }) },
      instance: hello.instance,
      attempt: hello.attempt,
      address: client.connection.peer,
    });
    client.session?.tell({
      type: "welcome",
      welcome: {
        version: 1,
        relay: "relay",
        networkId: this.#options.networkId,
        now: this.#options.gate.now(),
        observeKey,
        observePorts,
        services: this.#machine.servicesFor(kind, name),
        maxEarlyAgeMs: MAX_EARLY_AGE_MS,
        early: client.early,
      },
    });
    this.#options.log.info("client joined", {
      kind,
      name,
      address: client.connection.peer.key,
      software: hello.software,
    });
  }

  async #renew(client: RelayClient, csr: string): Promise<void> {
    let certificate: string | null = null;
    let message: string | null = null;
    try {
      const now = this.#options.clock.now();
      if (now < client.mayRenewAt) {
        const seconds = RENEW_INTERVAL_MS / 1000;
        throw new RangeError(`Cannot renew a certificate more often than every ${seconds} s`);
      }
      client.mayRenewAt = now + RENEW_INTERVAL_MS;
      const answer = await this.#options.enrolment.renew({
        kind: client.identity?.kind,
        request: csr,
      });
      certificate = answer.certificate;
    } catch (error) {
      message = messageOf(error);
    }
    client.session?.tell({ type: "send", message: { type: "certificate", certificate, message } });
  }

  #registryOutput(output: RegistryOutput): void {
    switch (output.type) {
      case "send":
        this.#clients.get(output.session)?.session?.tell({
          type: "send",
          message: output.message,
        });
        return;
      case "close": {
        const { code, message } = output;
        this.#clients.get(output.session)?.session?.tell({ type: "close", code, message });
        return;
      }
      case "route":
        return this.#options.forwarder.route(output.tunnelId, output.a, output.b);
      case "unroute":
        return this.#options.forwarder.unroute(output.tunnelId);
    }
  }
}
