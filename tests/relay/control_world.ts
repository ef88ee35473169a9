/**
 * A relay and its clients in one process, joined by byte streams that take time: real sessions, real registry, real
 * framing, virtual clock.
 * @module
 */
import assert from "node:assert/strict";
import {
  type ClientInput,
  type ClientOutput,
  ClientSession,
} from "../../src/control/client_session.ts";
import { encodeMessage } from "../../src/control/framing.ts";
import type { ClientKind, ClientMessage, RelayMessage } from "../../src/control/messages.ts";
import { MessageReader, parseClientMessage, parseRelayMessage } from "../../src/control/parse.ts";
import { RelaySession, type RelaySessionInput } from "../../src/control/relay_session.ts";
import { type Address, addressOf, toBase64Url } from "../../src/core/mod.ts";
import { type PolicySnapshot, Registry, type RegistryInput } from "../../src/relay/registry.ts";
import { drain } from "../control/samples.ts";

/** One way, in milliseconds. */
export const DELAY = 20;

interface Link {
  readonly id: number;
  readonly client: WorldClient;
  readonly session: RelaySession;
  readonly fromClient: MessageReader<ClientMessage>;
  readonly fromRelay: MessageReader<RelayMessage>;
  up: boolean;
}

/** An agent or connector. */
export interface WorldClient {
  readonly kind: ClientKind;
  readonly name: string;
  session: ClientSession;
  link: Link | undefined;
  attempt: number;
  /** What its session told, newest last. */
  readonly told: ClientOutput[];
  /** Agent: tunnels that it wants; connector: tunnels that it knows. */
  readonly tunnels: Map<string, { state: "wanted" | "open" | "closed"; peer?: string }>;
}

/** See the module's head. */
export class ControlWorld {
  now = 0;
  readonly clients: WorldClient[] = [];
  routes = new Map<string, { a: Address | undefined; b: Address | undefined }>();
  #registry: Registry | undefined;
  #links: Link[] = [];
  #nextLink = 1;
  #queue: { at: number; order: number; run: () => void }[] = [];
  #order = 0;
  readonly #policy: PolicySnapshot;

  constructor(policy: PolicySnapshot) {
    this.#policy = policy;
  }

  /** A client's process starts (anew: it has forgotten everything). */
  startClient(kind: ClientKind, name: string): WorldClient {
    let client = this.clients.find((it) => it.kind === kind && it.name === name);
    if (client) this.#cut(client.link);
    const instance = (++this.#order).toString(16).padStart(16, "0");
    const session = new ClientSession({ kind, software: "world", instance });
    if (client) {
      Object.assign(client, { session, link: undefined, attempt: 0 });
      client.tunnels.clear();
    } else {
      client = { kind, name, session, link: undefined, attempt: 0, told: [], tunnels: new Map() };
      this.clients.push(client);
    }
    if (kind === "connector") {
      this.tell(client, { type: "register", services: ["web"], agents: [] });
    }
    this.#later(DELAY, () => this.#connect(client, session));
    return client;
  }

  startRelay(): void {
    this.#registry ??= new Registry({ policy: this.#policy });
  }

  /** The relay's process ends: whatever it knew is gone. Clients notice after a while. */
  killRelay(): void {
    this.#registry = undefined;
    this.routes = new Map();
    for (const link of this.#links) this.#cut(link);
    this.#links = [];
  }

  /** A client's connection breaks; both ends notice, each in its time. */
  breakLink(client: WorldClient): void {
    this.#cut(client.link);
  }

  tell(client: WorldClient, input: ClientInput): void {
    client.session.handle(input, this.now);
    this.#obey(client);
  }

  want(agent: WorldClient, tunnelId: string): void {
    agent.tunnels.set(tunnelId, { state: "wanted" });
    this.tell(agent, { type: "connect", tunnelId, service: "web" });
  }

  giveUp(client: WorldClient, tunnelId: string): void {
    client.tunnels.delete(tunnelId);
    this.tell(client, { type: "disconnect", tunnelId });
  }

  /** Lets time pass. */
  run(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      this.#queue.sort((x, y) => x.at - y.at || x.order - y.order);
      const event = this.#queue[0];
      const timers = [
        ...this.clients.map((client) => ({
          at: client.session.deadline() ?? Infinity,
          run: () => this.tell(client, { type: "tick" }),
        })),
        ...this.#links.map((link) => ({
          at: link.session.deadline() ?? Infinity,
          run: () => this.#tellSession(link, { type: "tick" }),
        })),
        {
          at: this.#registry?.deadline() ?? Infinity,
          run: () => this.#tellRegistry({ type: "tick" }),
        },
      ];
      const timer = timers.reduce((first, it) => it.at < first.at ? it : first);
      const at = Math.min(event?.at ?? Infinity, timer.at);
      if (at > end) break;
      this.now = Math.max(this.now, at);
      if (event && event.at <= timer.at) {
        this.#queue.shift();
        event.run();
      } else timer.run();
    }
    this.now = end;
  }

  #later(ms: number, run: () => void): void {
    this.#queue.push({ at: this.now + ms, order: this.#order++, run });
  }

  /** A connection attempt, again and again until there is a relay. */
  #connect(client: WorldClient, session: ClientSession): void {
    // A process that has ended connects no more.
    if (client.session !== session || client.link?.up) return;
    const id = this.#nextLink++;
    const link: Link = {
      id,
      client,
      session: new RelaySession(client.kind, this.now),
      fromClient: new MessageReader(parseClientMessage),
      fromRelay: new MessageReader(parseRelayMessage),
      up: this.#registry !== undefined,
    };
    client.link = link;
    // The first flight goes out whether or not anyone is there.
    const seed = { nonce: toBase64Url(new Uint8Array(16)), issuedAt: null };
    if (link.up) this.#links.push(link);
    this.tell(client, { type: "start", attempt: ++client.attempt, ...seed });
    if (!link.up) this.#later(500, () => this.#lost(link));
  }

  #lost(link: Link): void {
    const { client } = link;
    if (client.link !== link) return;
    client.link = undefined;
    this.tell(client, { type: "lost" });
    const { session } = client;
    this.#later(200, () => this.#connect(client, session));
  }

  #cut(link: Link | undefined): void {
    if (!link?.up) return;
    link.up = false;
    const registry = this.#registry;
    this.#later(700, () => this.#lost(link));
    this.#later(900, () => {
      if (this.#registry !== registry || !registry) return;
      link.session.handle({ type: "lost" }, this.now);
      this.#links = this.#links.filter((it) => it !== link);
      this.#tellRegistry({ type: "close", session: link.id });
    });
  }

  #obey(client: WorldClient): void {
    const { link } = client;
    for (const output of drain(client.session)) {
      client.told.push(output);
      if (output.type === "send" && link) {
        const bytes = encodeMessage(output.message);
        this.#later(DELAY, () => link.up && this.#arrive(link, bytes));
      } else if (output.type === "close" && link) {
        this.#cut(link);
        link.up = false;
        this.#later(1, () => this.#lost(link));
      } else if (output.type === "granted") {
        assert.ok(client.tunnels.has(output.grant.tunnelId), "only what is wanted is granted");
        client.tunnels.set(output.grant.tunnelId, { state: "open", peer: output.grant.connector });
      } else if (output.type === "refused") {
        client.tunnels.set(output.tunnelId, { state: "closed" });
      } else if (output.type === "disconnected" && output.final) {
        if (client.kind === "agent") client.tunnels.set(output.tunnelId, { state: "closed" });
        else client.tunnels.delete(output.tunnelId);
      } else if (output.type === "incoming") {
        const { tunnelId, agent, resume } = output.incoming;
        // A tunnel that this process has never heard of cannot go on.
        if (resume && !client.tunnels.has(tunnelId)) this.giveUp(client, tunnelId);
        else client.tunnels.set(tunnelId, { state: "open", peer: agent });
      }
    }
  }

  #arrive(link: Link, bytes: Uint8Array): void {
    const { messages, refused } = link.fromClient.read(bytes);
    assert.equal(refused, undefined);
    for (const message of messages) this.#tellSession(link, { type: "message", message });
  }

  #tellSession(link: Link, input: RelaySessionInput): void {
    const { session, client } = link;
    session.handle(input, this.now);
    for (const output of drain(session)) {
      if (output.type === "send") {
        const bytes = encodeMessage(output.message);
        this.#later(DELAY, () => link.up && this.#answer(link, bytes));
      } else if (output.type === "hello") {
        this.#tellSession(link, {
          type: "welcome",
          welcome: {
            version: 1,
            relay: "relay",
            networkId: "0".repeat(16),
            now: this.now,
            observeKey: { id: "0".repeat(16), key: "A".repeat(22) },
            observePorts: [],
            services: this.#registry!.servicesFor(client.kind, client.name),
            maxEarlyAgeMs: 10_000,
            early: "none",
          },
        });
      } else if (output.type === "request" && output.request.type !== "renew") {
        this.#tellRegistry({ type: "request", session: link.id, request: output.request });
      } else if (output.type === "close") {
        this.#later(DELAY, () => this.#cut(link));
        this.#tellRegistry({ type: "close", session: link.id });
      }
      if (output.type === "hello") {
        const { instance, attempt } = output.hello;
        const { kind, name } = client;
        this.#tellRegistry({
          type: "open",
          session: link.id,
          identity: { kind, name, pin: "A".repeat(43), serverName: `${name}.test` },
          instance,
          attempt,
          address: addressOf("198.51.100.1", link.id),
        });
      }
    }
  }

  #answer(link: Link, bytes: Uint8Array): void {
    const { messages, refused } = link.fromRelay.read(bytes);
    assert.equal(refused, undefined);
    for (const message of messages) {
      if (link.client.link === link) this.tell(link.client, { type: "message", message });
    }
  }

  #tellRegistry(input: RegistryInput): void {
    const registry = this.#registry!;
    registry.handle(input, this.now);
    for (const output of drain(registry)) {
      if (output.type === "route") {
        this.routes.set(output.tunnelId, { a: output.a, b: output.b });
      } else if (output.type === "unroute") this.routes.delete(output.tunnelId);
      else {
        const link = this.#links.find(({ id }) => id === output.session);
        if (!link) continue;
        const { session: _, ...rest } = output;
        this.#tellSession(link, rest);
      }
    }
  }
}
