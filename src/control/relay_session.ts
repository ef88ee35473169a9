/**
 * The relay's side of one control connection: what may come when. It decides nothing that is policy: hello and
 * requests go out as they are, and the answers come back as messages to send.
 *
 * ```
 *                   hello              welcome (from the role)
 *  awaiting-hello --------> greeting --------------------------> ready
 *        |                     |                                   |
 *        +---------------------+-----------------------------------+--> closed   lost, close, out of order,
 *                                                                                too fast, silent
 * ```
 *
 * While the role thinks about the hello (a replayed one must wait for the handshake), what comes after it is kept, in
 * order.
 * @module
 */
import type { Machine, Millis } from "../core/mod.ts";
import type {
  ClientKind,
  ClientMessage,
  ClientMessageOf,
  ErrorCode,
  RelayMessage,
  RelayMessageOf,
} from "./messages.ts";
import type { Refusal } from "./parse.ts";

/** From the connection to its hello, which can travel in the first flight: generous. Then it is closed. */
export const HELLO_TIMEOUT_MS = 10_000;

/** A client pings every 15 s; after four times that without a word it is gone, though QUIC may still be kept alive. */
export const SILENCE_MS = 60_000;

/**
 * Messages kept while hello is being judged, each way. An agent that comes back asks for 64 tunnels at once;
 * whoever sends more than this before welcome is closed.
 */
export const MAX_WAITING = 128;

/**
 * A client may send 512 messages at once (64 tunnels opened and closed a few times over) and 64 a second for ever;
 * a faster one is closed, as it costs others their share of the relay.
 */
export const MESSAGE_BUDGET = { burst: 512, perSecond: 64 } as const;

/** Characters of a reason, so that it fits an error message. */
const MAX_REASON = 500;

/** Requests that a role or registry answers. */
export type ClientRequest = ClientMessageOf<
  "register" | "review" | "connect" | "observed" | "disconnect" | "renew"
>;

/** What a relay session is told. */
export type RelaySessionInput =
  | { readonly type: "message"; readonly message: ClientMessage }
  /** The client sent something that cannot be read. */
  | { readonly type: "refusal"; readonly refusal: Refusal }
  /** The answer to hello. */
  | { readonly type: "welcome"; readonly welcome: Omit<RelayMessageOf<"welcome">, "type"> }
  /** Say this to the client (after welcome, in order). */
  | { readonly type: "send"; readonly message: RelayMessage }
  /** End it, telling why. */
  | { readonly type: "close"; readonly code: ErrorCode; readonly message: string }
  /** The connection is gone. */
  | { readonly type: "lost" }
  | { readonly type: "tick" };

/** What a relay session wants done. */
export type RelaySessionOutput =
  | { readonly type: "send"; readonly message: RelayMessage }
  /** Judge it: answer with `welcome` or `close`. */
  | { readonly type: "hello"; readonly hello: ClientMessageOf<"hello"> }
  /** Answer with `send`. */
  | { readonly type: "request"; readonly request: ClientRequest }
  /** Close the connection once what was sent is on its way. */
  | { readonly type: "close"; readonly code: ErrorCode; readonly message: string };

type State =
  | { readonly name: "awaiting-hello" }
  | {
    readonly name: "greeting";
    readonly requests: ClientRequest[];
    readonly messages: RelayMessage[];
  }
  | { readonly name: "ready" }
  | { readonly name: "closed" };

/** The names of a relay session's states. */
export type RelaySessionStateName = State["name"];

/** Requests that only one kind of client may make; the others are for both. */
const ONLY_FROM: Partial<Record<ClientMessage["type"], ClientKind>> = {
  register: "connector",
  review: "connector",
  connect: "agent",
};

/** See the module's head. */
export class RelaySession implements Machine<RelaySessionInput, RelaySessionOutput> {
  readonly #kind: ClientKind;
  #state: State = { name: "awaiting-hello" };
  #outputs: RelaySessionOutput[] = [];
  /** When the connection began, then when the client last said something. */
  #heardAt: Millis;
  #budget: number = MESSAGE_BUDGET.burst;

  /** `kind` is the client's, from its certificate; `now` is when the connection began. */
  constructor(kind: ClientKind, now: Millis) {
    this.#kind = kind;
    this.#heardAt = now;
  }

  /** Where it stands. */
  get state(): RelaySessionStateName {
    return this.#state.name;
  }

  handle(input: RelaySessionInput, now: Millis): void {
    if (this.#state.name === "closed") return;
    switch (input.type) {
      case "message":
        return this.#message(input.message, now);
      case "refusal":
        return this.#close(input.refusal.code, input.refusal.message);
      case "welcome":
        return this.#welcome(input.welcome);
      case "send":
        return this.#relay(input.message);
      case "close":
        return this.#close(input.code, input.message);
      case "lost":
        this.#state = { name: "closed" };
        return;
      case "tick":
        return this.#tick(now);
    }
  }

  poll(): RelaySessionOutput | undefined {
    return this.#outputs.shift();
  }

  deadline(): Millis | undefined {
    switch (this.#state.name) {
      case "awaiting-hello":
        return this.#heardAt + HELLO_TIMEOUT_MS;
      case "greeting":
      case "ready":
        return this.#heardAt + SILENCE_MS;
      case "closed":
        return undefined;
    }
  }

  #message(message: ClientMessage, now: Millis): void {
    const state = this.#state;
    const refilled = this.#budget + (now - this.#heardAt) * MESSAGE_BUDGET.perSecond / 1000;
    this.#budget = Math.min(MESSAGE_BUDGET.burst, refilled) - 1;
    if (state.name !== "awaiting-hello") this.#heardAt = now;
    if (this.#budget < 0) {
      const rate = `${MESSAGE_BUDGET.perSecond} messages a second`;
      return this.#close("too-many", `Cannot take more than ${rate} from one client`);
    }
    const { type } = message;
    if (state.name === "awaiting-hello" && type !== "hello") {
      return this.#close("protocol", `Cannot take "${type}" as hello has not come yet`);
    }
    const kind = ONLY_FROM[type];
    if (kind !== undefined && kind !== this.#kind) {
      return this.#close("protocol", `Cannot take "${type}" as it is for a ${kind}`);
    }
    switch (message.type) {
      case "hello":
        if (state.name !== "awaiting-hello") {
          return this.#close("protocol", `Cannot take "hello" as it has come already`);
        }
        this.#heardAt = now;
        this.#state = { name: "greeting", requests: [], messages: [] };
        this.#outputs.push({ type: "hello", hello: message });
        return;
      case "ping":
        return this.#relay({ type: "pong", id: message.id });
      case "pong":
        return;
      default:
        return this.#request(message);
    }
  }

  #request(request: ClientRequest): void {
    const state = this.#state;
    if (state.name === "ready") this.#outputs.push({ type: "request", request });
    else if (state.name === "greeting") {
      if (state.requests.length >= MAX_WAITING) return this.#tooManyWaiting();
      state.requests.push(request);
    }
  }

  #welcome(welcome: Omit<RelayMessageOf<"welcome">, "type">): void {
    const state = this.#state;
    if (state.name !== "greeting") return;
    this.#state = { name: "ready" };
    this.#outputs.push({ type: "send", message: { type: "welcome", ...welcome } });
    for (const message of state.messages) this.#outputs.push({ type: "send", message });
    for (const request of state.requests) this.#outputs.push({ type: "request", request });
  }

  #relay(message: RelayMessage): void {
    const state = this.#state;
    if (state.name === "ready") this.#outputs.push({ type: "send", message });
    else if (state.name === "greeting") {
      if (state.messages.length >= MAX_WAITING) return this.#tooManyWaiting();
      state.messages.push(message);
    }
  }

  #tooManyWaiting(): void {
    this.#close("too-many", `Cannot keep more than ${MAX_WAITING} messages before welcome`);
  }

  #tick(now: Millis): void {
    const deadline = this.deadline();
    if (deadline === undefined || now < deadline) return;
    if (this.#state.name === "awaiting-hello") {
      const seconds = HELLO_TIMEOUT_MS / 1000;
      this.#close("silent", `Cannot wait on as no hello has come for ${seconds} s`);
    } else {
      const seconds = SILENCE_MS / 1000;
      this.#close("silent", `Cannot go on as the client has said nothing for ${seconds} s`);
    }
  }

  #close(code: ErrorCode, reason: string): void {
    const message = reason.replaceAll(/\p{Cc}/gu, "?").slice(0, MAX_REASON);
    this.#state = { name: "closed" };
    this.#outputs.push({ type: "send", message: { type: "error", code, message } });
    this.#outputs.push({ type: "close", code, message });
  }
}
