/**
 * The client's side of the control connection: one machine for the whole life of an agent or connector. Connections
 * to the relay come and go under it; what is wanted (services offered, tunnels) is said again on each.
 *
 * ```
 *          start                 welcome              draining
 *  idle ----------> greeting --------------> ready -------------> draining
 *   ^                  |                       |                     |
 *   +------------------+-----------------------+---------------------+   lost, error, or something out of order
 * ```
 *
 * Hello goes out at once on `start`, and so does everything after it, so that all of it can travel as early data.
 * If that was refused, `restart` says it all again.
 * @module
 */
import type { Machine, Millis, UnixMillis } from "../core/mod.ts";
import { ClientTunnels, type TunnelOutput } from "./client_tunnels.ts";
import { MAX_PEERS } from "./fields.ts";
import { Keepalive } from "./keepalive.ts";
import {
  type ClientKind,
  type ClientMessage,
  type ErrorCode,
  PROTOCOL_VERSION,
  type RelayMessage,
  type RelayMessageOf,
} from "./messages.ts";
import type { Refusal } from "./parse.ts";

/**
 * From hello to welcome, handshake included: the longest that {@linkcode "./reconnect.ts".Reconnect} gives an
 * attempt. After it the connection is given up.
 */
export const WELCOME_TIMEOUT_MS = 10_000;

/** Who this is. */
export interface ClientSessionOptions {
  readonly kind: ClientKind;
  /** Program and version, for the relay's log. */
  readonly software: string;
  /** 16 hexadecimal digits, random, one per process. */
  readonly instance: string;
}

/** What makes one hello unlike any other. */
export interface HelloSeed {
  /** 16 random bytes, base64url. */
  readonly nonce: string;
  /** Now on the relay's clock, null where that is unknown. */
  readonly issuedAt: UnixMillis | null;
}

/** What a client session is told. */
export type ClientInput =
  /** A connection is there (or its first flight may be written). `attempt` grows with every connection. */
  | ({ readonly type: "start"; readonly attempt: number } & HelloSeed)
  /** Early data was refused: nothing of what was sent has arrived. */
  | ({ readonly type: "restart" } & HelloSeed)
  /** The connection is gone. */
  | { readonly type: "lost" }
  | { readonly type: "message"; readonly message: RelayMessage }
  /** The relay sent something that cannot be read. */
  | { readonly type: "refusal"; readonly refusal: Refusal }
  /** Agent: open a tunnel; the id is 8 random bytes in hex. */
  | {
    readonly type: "connect";
    readonly tunnelId: string;
    readonly service: string;
    readonly connector?: string | null;
  }
  /** A tunnel is over. */
  | { readonly type: "disconnect"; readonly tunnelId: string }
  /** Connector: what it offers and whose tunnels it has; said again on every start, so keep it true. */
  | {
    readonly type: "register";
    readonly services: readonly string[];
    readonly agents: readonly string[];
  }
  | { readonly type: "renew"; readonly csr: string }
  /** Where the P2P socket is seen; goes with every `connect` and `register` from now on. */
  | { readonly type: "observed"; readonly addresses: readonly string[] }
  /** The network has changed: find out soon whether the relay still hears us. */
  | { readonly type: "check" }
  | { readonly type: "tick" };

/** What a client session wants done, or tells. */
export type ClientOutput =
  | TunnelOutput
  | { readonly type: "send"; readonly message: ClientMessage }
  /** Connected. `elapsedMs` since hello was written: bounds the round trip for the clock's offset. */
  | {
    readonly type: "welcome";
    readonly welcome: RelayMessageOf<"welcome">;
    readonly elapsedMs: Millis;
  }
  /** Connector: offered from now on, and what it may not offer. */
  | { readonly type: "registered"; readonly services: string[]; readonly refused: string[] }
  /** Connector: an agent comes (or comes back: then a tunnel that is known stays as it is, an unknown one is to be disconnected). */
  | { readonly type: "incoming"; readonly incoming: RelayMessageOf<"incoming"> }
  | { readonly type: "policy"; readonly policy: RelayMessageOf<"policy"> }
  | { readonly type: "revoked"; readonly kind: ClientKind; readonly name: string }
  /** Where the relay sees the other end of a tunnel. */
  | { readonly type: "seen"; readonly tunnelId: string; readonly observed: string[] }
  | {
    readonly type: "certificate";
    readonly certificate: string | null;
    readonly why: string | null;
  }
  | { readonly type: "draining"; readonly graceMs: Millis }
  | { readonly type: "rtt"; readonly rttMs: Millis }
  /** Close the connection; the session is idle and waits for `start`. `by` says who found the reason. */
  | {
    readonly type: "close";
    readonly by: "relay" | "client";
    readonly code: ErrorCode;
    readonly message: string;
  };

type State =
  | {
    readonly name: "idle";
  }
  | { readonly name: "greeting"; readonly attempt: number; readonly since: Millis }
  | { readonly name: "ready" | "draining"; readonly keepalive: Keepalive };

/** The names of a client session's states. */
export type ClientStateName = State["name"];

/** Relay messages that only one kind of client may get; the others are for both. */
const ONLY_FOR: Partial<Record<RelayMessage["type"], ClientKind>> = {
  registered: "connector",
  incoming: "connector",
  granted: "agent",
  refused: "agent",
};

/** Relay messages that may come before welcome. */
const BEFORE_WELCOME: ReadonlySet<RelayMessage["type"]> = new Set([
  "welcome",
  "error",
  "ping",
  "pong",
]);

/** See the module's head. The queue that {@linkcode poll} empties holds a few outputs per input and tunnel. */
export class ClientSession implements Machine<ClientInput, ClientOutput> {
  readonly #options: ClientSessionOptions;
  readonly #tunnels: ClientTunnels;
  #state: State = { name: "idle" };
  #registered: { services: readonly string[]; agents: readonly string[] } | undefined;
  /** A certificate request that waits for a connection: the newest only. */
  #csr: string | undefined;
  #outputs: ClientOutput[] = [];

  constructor(options: ClientSessionOptions) {
    this.#options = options;
    this.#tunnels = new ClientTunnels((output) => this.#outputs.push(output));
  }

  /** Where it stands. */
  get state(): ClientStateName {
    return this.#state.name;
  }

  handle(input: ClientInput, now: Millis): void {
    switch (input.type) {
      case "start":
        if (this.#state.name !== "idle") this.#idle();
        return this.#greet(input.attempt, input, now);
      case "restart":
        if (this.#state.name === "greeting") this.#greet(this.#state.attempt, input, now);
        return;
      case "lost":
        return this.#idle();
      case "message":
        return this.#message(input.message, now);
      case "refusal":
        if (this.#state.name === "idle") return;
        return this.#close("client", input.refusal.code, input.refusal.message);
      case "connect": {
        // A connector asks for no tunnels; the relay would end the connection.
        if (this.#options.kind !== "agent") return;
        const { tunnelId, service, connector = null } = input;
        return this.#tunnels.connect({ tunnelId, service, connector }, now);
      }
      case "disconnect":
        if (this.#options.kind === "agent") this.#tunnels.disconnect(input.tunnelId);
        else if (this.#welcomed) this.#send({ type: "disconnect", tunnelId: input.tunnelId });
        return;
      case "register":
        this.#registered = { services: input.services, agents: input.agents };
        if (this.#state.name !== "idle") this.#register();
        return;
      case "observed":
        this.#tunnels.observed = input.addresses;
        // A client that comes back knows whom to ask, and may know it before it is welcomed.
        if (this.#welcomed || this.#state.name === "greeting") {
          this.#send({ type: "observed", addresses: [...input.addresses] });
        }
        return;
      case "renew":
        this.#csr = input.csr;
        return this.#renew();
      case "check":
        if (this.#state.name === "ready" || this.#state.name === "draining") {
          this.#send({ type: "ping", id: this.#state.keepalive.check(now).ping });
        }
        return;
      case "tick":
        return this.#tick(now);
    }
  }

  poll(): ClientOutput | undefined {
    return this.#outputs.shift();
  }

  deadline(): Millis | undefined {
    const tunnels = this.#tunnels.deadline() ?? Infinity;
    let own = Infinity;
    if (this.#state.name === "greeting") own = this.#state.since + WELCOME_TIMEOUT_MS;
    else if (this.#state.name !== "idle") own = this.#state.keepalive.due;
    const first = Math.min(tunnels, own);
    return first === Infinity ? undefined : first;
  }

  get #welcomed(): boolean {
    return this.#state.name === "ready" || this.#state.name === "draining";
  }

  #greet(attempt: number, { nonce, issuedAt }: HelloSeed, now: Millis): void {
    this.#state = { name: "greeting", attempt, since: now };
    const { software, instance } = this.#options;
    const version = PROTOCOL_VERSION;
    this.#send({ type: "hello", version, software, nonce, issuedAt, instance, attempt });
    this.#register();
    this.#tunnels.open(now);
  }

  #message(message: RelayMessage, now: Millis): void {
    const state = this.#state;
    if (state.name === "idle") return;
    const wrong = this.#whyWrong(message, state.name);
    if (wrong !== undefined) {
      return this.#close("client", "protocol", `Cannot take "${message.type}" ${wrong}`);
    }
    if (state.name !== "greeting") state.keepalive.heard(now);
    switch (message.type) {
      case "welcome": {
        const since = state.name === "greeting" ? state.since : now;
        this.#state = { name: "ready", keepalive: new Keepalive(now) };
        this.#outputs.push({ type: "welcome", welcome: message, elapsedMs: now - since });
        return this.#renew();
      }
      case "ping":
        return this.#send({ type: "pong", id: message.id });
      case "pong": {
        if (state.name === "greeting") return;
        const rttMs = state.keepalive.pong(message.id, now);
        if (rttMs !== undefined) this.#outputs.push({ type: "rtt", rttMs });
        return;
      }
      case "granted": {
        const violation = this.#tunnels.granted(message);
        if (violation !== undefined) this.#close("client", "protocol", violation);
        return;
      }
      case "refused":
        return this.#tunnels.refused(message, now);
      case "disconnected":
        return this.#disconnected(message, now);
      case "registered": {
        const { services, refused } = message;
        this.#outputs.push({ type: "registered", services, refused });
        return;
      }
      case "incoming":
        this.#outputs.push({ type: "incoming", incoming: message });
        return;
      case "policy":
        this.#outputs.push({ type: "policy", policy: message });
        return;
      case "seen":
        this.#outputs.push(message);
        return;
      case "revoked":
        this.#outputs.push({ type: "revoked", kind: message.kind, name: message.name });
        return;
      case "certificate": {
        const { certificate, message: why } = message;
        this.#outputs.push({ type: "certificate", certificate, why });
        return;
      }
      case "draining":
        if (state.name === "ready") this.#state = { ...state, name: "draining" };
        this.#tunnels.drain();
        this.#outputs.push({ type: "draining", graceMs: message.graceMs });
        return;
      case "error":
        return this.#close("relay", message.code, message.message);
    }
  }

  #whyWrong({ type }: RelayMessage, state: ClientStateName): string | undefined {
    if (state === "greeting" && !BEFORE_WELCOME.has(type)) return "as welcome has not come yet";
    if (state !== "greeting" && type === "welcome") return "as it has come already";
    const kind = ONLY_FOR[type];
    if (kind !== undefined && kind !== this.#options.kind) return `as it is for a ${kind}`;
    return undefined;
  }

  #disconnected(message: RelayMessageOf<"disconnected">, now: Millis): void {
    if (this.#options.kind === "agent") return this.#tunnels.disconnected(message, now);
    const { tunnelId, reason } = message;
    this.#outputs.push({ type: "disconnected", tunnelId, reason, final: reason !== "offline" });
  }

  #register(): void {
    if (this.#options.kind !== "connector" || !this.#registered) return;
    const { services, agents } = this.#registered;
    const observed = [...this.#tunnels.observed];
    this.#send({ type: "register", services: [...services], observed });
    for (let i = 0; i < agents.length; i += MAX_PEERS) {
      this.#send({ type: "review", agents: agents.slice(i, i + MAX_PEERS) });
    }
  }

  #renew(): void {
    if (this.#csr === undefined || !this.#welcomed) return;
    this.#send({ type: "renew", csr: this.#csr });
    this.#csr = undefined;
  }

  #tick(now: Millis): void {
    const state = this.#state;
    if (state.name === "greeting" && now >= state.since + WELCOME_TIMEOUT_MS) {
      const seconds = WELCOME_TIMEOUT_MS / 1000;
      this.#close(
        "client",
        "silent",
        `Cannot use the relay as it has not answered for ${seconds} s`,
      );
    } else if (state.name === "ready" || state.name === "draining") {
      const due = state.keepalive.tick(now);
      if (due && "ping" in due) this.#send({ type: "ping", id: due.ping });
      else if (due) this.#close("client", "silent", "Cannot go on as the relay answers no ping");
    }
    this.#tunnels.tick(now);
  }

  #send(message: ClientMessage): void {
    this.#outputs.push({ type: "send", message });
  }

  #close(by: "relay" | "client", code: ErrorCode, message: string): void {
    this.#idle();
    this.#outputs.push({ type: "close", by, code, message });
  }

  #idle(): void {
    this.#state = { name: "idle" };
    this.#tunnels.lost();
  }
}
