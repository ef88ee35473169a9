/**
 * A relay in bad hands: it has the CA's key and speaks the control protocol well enough to be believed, and a script says
 * what it does with tunnels. For tests of what agent and connector let it get away with.
 * @module
 */
import { FrameChannel, type RelayMessage } from "../../src/control/mod.ts";
import { type Address, decodeUtf8, fromHex, toBase64Url, toHex } from "../../src/core/mod.ts";
import {
  createKeyPair,
  decodePem,
  type IdentityKind,
  issueCertificate,
  parseName,
  parsePeerCertificate,
  type PeerIdentity,
  serverNameOf,
} from "../../src/identity/mod.ts";
import { type QuicConnection, QuicEndpoint } from "../../src/quic/mod.ts";
import { openRelayState } from "../../src/relay/state.ts";
import { controlConfig } from "../../src/roles/control_profile.ts";
import { socketEgress } from "../../src/roles/socket_egress.ts";
import { tunnelConfig } from "../../src/roles/tunnel_profile.ts";
import { Demultiplexer, openUdpSocket, type UdpSocket } from "../../src/sockets/mod.ts";
import { RELAYED_AGENT, RELAYED_CONNECTOR, SEALED_OVERHEAD } from "../../src/tunnel/mod.ts";
import { eventually } from "./scene.ts";
import type { Stage } from "./stage.ts";

/** An agent or connector that has been taken in. */
export interface Victim {
  readonly identity: PeerIdentity;
  readonly connection: QuicConnection;
  say(message: RelayWord): void;
}

/** What the relay says, true or not. */
export interface RelayWord {
  readonly type: RelayMessage["type"];
  readonly [field: string]: unknown;
}

/** A message of a client; only what the lies need is read. */
export interface ClientWord {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** What a relay does with tunnels. */
export interface Lie {
  /** An agent asks for a tunnel. */
  connect(asked: { agent: Victim; tunnelId: string; service: string; request: number }): void;
  /** A sealed datagram came: `id` is its tunnel, `packet` what is inside. */
  sealed(came: { from: Victim; id: string; packet: Uint8Array; whole: Uint8Array }): void;
}

/** See the module's head. */
export class LyingRelay implements AsyncDisposable {
  lie: Lie;
  /** Both ends of each tunnel that was opened without a lie. */
  readonly ends = new Map<string, { agent: Victim; connector: Victim }>();
  readonly #socket: UdpSocket;
  readonly #endpoint = new QuicEndpoint();
  readonly #victims = new Map<string, Victim>();
  readonly #issue: (kind: IdentityKind, name: string) => Promise<Minted>;

  private constructor(
    socket: UdpSocket,
    parts: {
      networkId: string;
      config: ReturnType<typeof controlConfig>;
      issue: LyingRelay["mint"];
    },
  ) {
    this.#socket = socket;
    this.#issue = parts.issue;
    this.lie = honest(this);
    const egress = socketEgress(socket);
    this.#endpoint.listen(() => ({
      config: parts.config,
      egress,
      handler: (connection) => this.#handler(connection, parts.networkId),
    }));
    socket.receive(
      new Demultiplexer({
        quic: (data, size, from) => this.#endpoint.ingest(data, size, from, socket.local),
        sealed: (data, size, from) => this.#sealed(data, size, from),
        batchEnd: () => this.#endpoint.batchEnd(),
      }),
    );
  }

  /** Takes the place of the stage's relay, which has ended, with all that it had. */
  static async takeOver(stage: Stage): Promise<LyingRelay> {
    using state = await openRelayState(stage.path("relay"), { now: Date.now() });
    const { authority, folder } = state;
    const { caPem, networkId } = authority;
    const caKeyPem = await Deno.readTextFile(folder.file("ca.key"));
    const ca = { networkId, certificatePem: caPem, privateKeyPem: caKeyPem };
    const certificate = await authority.relayCertificate(Date.now());
    const issue = async (kind: IdentityKind, text: string): Promise<Minted> => {
      const name = parseName(text);
      const key = await createKeyPair();
      const { publicKey } = key;
      const certPem = await issueCertificate(ca, { kind, name, publicKey, now: Date.now() });
      const identity = parsePeerCertificate(decodePem("CERTIFICATE", certPem)!)!;
      const config = tunnelConfig({ caPem, certPem, keyPem: key.privateKeyPem });
      return { identity, config, serverName: serverNameOf(identity) };
    };
    const socket = openUdpSocket({ host: "127.0.0.1", port: stage.port });
    const config = controlConfig({ caPem, ...certificate });
    return stage.keep(new LyingRelay(socket, { networkId, config, issue }));
  }

  /** A certificate of its own making, for whatever name it likes. */
  mint(kind: IdentityKind, name: string): Promise<Minted> {
    return this.#issue(kind, name);
  }

  /** Who has come by that name. */
  victim(kind: "agent" | "connector", name: string): Promise<Victim> {
    const who = `${kind} ${name}`;
    return eventually(`${who} at the lying relay`, () => this.#victims.get(who), { everyMs: 5 });
  }

  /** Who has come by that name, if anybody. */
  known(kind: "agent" | "connector", name: string): Victim | undefined {
    return this.#victims.get(`${kind} ${name}`);
  }

  /** Tells an agent that it has a tunnel to a connector. `pin`: of the key that it shall expect. */
  grant(
    asked: { agent: Victim; tunnelId: string; request: number },
    options: { connector: PeerIdentity; services?: string[] },
  ): void {
    const { agent, tunnelId, request } = asked;
    const { connector, services = ["web"] } = options;
    agent.say({
      type: "granted",
      request,
      tunnelId,
      connector: connector.name,
      serverName: serverNameOf(connector),
      pin: connector.pin,
      services,
      alternatives: [],
    });
  }

  /** Tells a connector that an agent comes. */
  announce(
    tunnelId: string,
    options: { connector: Victim; agent: PeerIdentity; services?: string[] },
  ): void {
    const { connector, agent, services = ["web"] } = options;
    connector.say({
      type: "incoming",
      tunnelId,
      agent: agent.name,
      pin: agent.pin,
      services,
      resume: false,
    });
  }

  /** Sends a sealed datagram with this inside. */
  seal(to: Victim, id: string, packet: Uint8Array): void {
    const datagram = new Uint8Array(SEALED_OVERHEAD + packet.length);
    datagram[0] = 0x02;
    datagram.set(fromHex(id)!, 1);
    datagram.set(packet, SEALED_OVERHEAD);
    this.raw(to, datagram);
  }

  /** Sends any datagram. */
  raw(to: Victim, datagram: Uint8Array): void {
    this.#socket.send(to.connection.peer, datagram, datagram.length);
  }

  /** Is the connector in a tunnel itself, with a certificate of its own making. What it reads goes to `heard`. */
  impersonateConnector(
    agent: Victim,
    options: { id: string; minted: Minted; first: Uint8Array; heard: (text: string) => void },
  ): QuicConnection | undefined {
    const { id, minted, first, heard } = options;
    return this.#endpoint.accept(first, RELAYED_AGENT, RELAYED_CONNECTOR, {
      config: minted.config,
      egress: this.#tunnelEgress(agent, id),
      handler: () => ({
        stream: async (stream) => {
          const buffer = new Uint8Array(65_536);
          for (let n = stream.read(buffer); n >= 0; n = stream.read(buffer)) {
            if (n > 0) heard(decodeUtf8(buffer.subarray(0, n)));
            else await stream.readable();
          }
        },
      }),
    });
  }

  /** Is the agent in a tunnel itself. Opens one flow per request as soon as it is let. Resolves with how it ended. */
  impersonateAgent(
    connector: Victim,
    options: {
      id: string;
      minted: Minted;
      requests: readonly Uint8Array[];
      heard: (bytes: Uint8Array, flow: number) => void;
    },
  ): { connection: QuicConnection; ended: Promise<string> } {
    const { id, minted, requests, heard } = options;
    const ended = Promise.withResolvers<string>();
    const connection: QuicConnection = this.#endpoint.connect({
      config: minted.config,
      egress: this.#tunnelEgress(connector, id),
      local: RELAYED_AGENT,
      peer: RELAYED_CONNECTOR,
      serverName: serverNameOf(connector.identity),
      handler: {
        established: () => {
          connection.openStream();
          for (const [index, request] of requests.entries()) {
            const flow = connection.openStream();
            if (!flow) continue;
            flow.write(request);
            void (async () => {
              const buffer = new Uint8Array(65_536);
              for (let n = flow.read(buffer); n >= 0; n = flow.read(buffer)) {
                if (n > 0) heard(buffer.slice(0, n), index);
                else await flow.readable();
              }
            })();
          }
        },
        closed: (reason) => ended.resolve(reason.text || reason.by),
      },
    });
    return { connection, ended: ended.promise };
  }

  /** For a connection that this relay is an end of. */
  deliver(connection: QuicConnection, packet: Uint8Array, from: "agent" | "connector"): void {
    const [source, to] = from === "agent"
      ? [RELAYED_AGENT, RELAYED_CONNECTOR]
      : [RELAYED_CONNECTOR, RELAYED_AGENT];
    this.#endpoint.deliver(connection, packet, source, to);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#endpoint.close("the lies are over");
    this.#socket.close();
    return Promise.resolve();
  }

  #tunnelEgress(victim: Victim, id: string) {
    const prefix = new Uint8Array(SEALED_OVERHEAD);
    prefix[0] = 0x02;
    prefix.set(fromHex(id)!, 1);
    return {
      packetSize: () => 1350,
      prefix: () => prefix,
      transmit: (_local: Address, _peer: Address, data: Uint8Array, size: number) =>
        this.#socket.send(victim.connection.peer, data, size),
      writable: () => this.#socket.writable(),
    };
  }

  #sealed(data: Uint8Array, size: number, source: Address): void {
    for (let at = 0; at < data.length; at += size) {
      const whole = data.slice(at, at + size);
      const from = [...this.#victims.values()].find(({ connection }) =>
        connection.peer.key === source.key
      );
      if (!from || whole.length <= SEALED_OVERHEAD) continue;
      const id = toHex(whole.subarray(1, SEALED_OVERHEAD));
      this.lie.sealed({ from, id, packet: whole.subarray(SEALED_OVERHEAD), whole });
    }
  }

  #handler(connection: QuicConnection, networkId: string) {
    let victim: Victim | undefined;
    return {
      stream: (stream: ConstructorParameters<typeof FrameChannel>[0]) => {
        const identity = parsePeerCertificate(connection.peerCertificates()![0]!)!;
        const channel = new FrameChannel(stream, {
          frame: (json) => this.#word(victim!, json as ClientWord, networkId),
          refused: () => connection.close(1, "no message"),
        });
        victim = { identity, connection, say: (message) => channel.send(message) };
      },
      closed: () => {
        const who = `${victim?.identity.kind} ${victim?.identity.name}`;
        if (this.#victims.get(who) === victim) this.#victims.delete(who);
      },
    };
  }

  #word(victim: Victim, word: ClientWord, networkId: string): void {
    switch (word.type) {
      case "hello":
        victim.say({
          type: "welcome",
          version: 1,
          relay: "relay",
          networkId,
          now: Date.now(),
          observeKey: { id: "00".repeat(8), key: toBase64Url(new Uint8Array(16)) },
          observePorts: [],
          services: ["web"],
          maxEarlyAgeMs: 10_000,
        });
        this.#victims.set(`${victim.identity.kind} ${victim.identity.name}`, victim);
        return;
      case "register":
        victim.say({ type: "registered", services: word["services"] as string[], refused: [] });
        return;
      case "connect":
        this.lie.connect({
          agent: victim,
          tunnelId: word["tunnelId"] as string,
          service: word["service"] as string,
          request: word["request"] as number,
        });
        return;
      case "ping":
        victim.say({ type: "pong", id: word["id"] as number });
    }
  }
}

/** A certificate that the relay has made for itself. */
export interface Minted {
  readonly identity: PeerIdentity;
  readonly config: ReturnType<typeof tunnelConfig>;
  readonly serverName: string;
}

/** No lie: every tunnel leads to connector "home", and every datagram to its other end. */
export function honest(relay: LyingRelay): Lie {
  const { ends } = relay;
  return {
    connect: async (asked) => {
      const { agent, tunnelId } = asked;
      const connector = await relay.victim("connector", "home");
      ends.set(tunnelId, { agent, connector });
      relay.announce(tunnelId, { connector, agent: agent.identity });
      relay.grant(asked, { connector: connector.identity });
    },
    sealed: ({ from, id, whole }) => {
      const end = ends.get(id);
      if (end) relay.raw(from.identity.kind === "agent" ? end.connector : end.agent, whole);
    },
  };
}
