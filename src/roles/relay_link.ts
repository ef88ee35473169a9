/**
 * A client's connection to its relay: finds the relay, connects, and keeps the control session running over whatever
 * connection there is.
 *
 * ```
 *  Reconnect --attempt--> QUIC connection --established--> Reconnect: connected --> ClientSession: start
 *      ^                        |                                                        |
 *      +------ lost, failed ----+                                    messages <-> control stream
 * ```
 * @module
 */
import {
  type ClientInput,
  type ClientOutput,
  ClientSession,
  FrameChannel,
  parseRelayMessage,
  Reconnect,
  type ReconnectInput,
  type ReconnectOutput,
  type RelayMessageOf,
} from "../control/mod.ts";
import { type Address, Driver, toBase64Url, toHex } from "../core/mod.ts";
import { VERSION } from "../core/version.ts";
import { decodeQadAddress } from "../qad/mod.ts";
import { announce, type CloseReason, describeClose, type QuicConnection } from "../quic/mod.ts";
import { observeFactsOf } from "./relay_ticket.ts";
import { RelayReach } from "./relay_reach.ts";
import { CONTROL_IDLE_TIMEOUT } from "./control_profile.ts";
import { FirstFlight } from "./first_flight.ts";
import { RelayDoubt } from "./relay_doubt.ts";
import type { RelayLinkOptions } from "./relay_link_options.ts";
import { socketEgress } from "./socket_egress.ts";
import type { EarlyDataState, RelayLinkStatus } from "./status.ts";
import { warmUp } from "./warm_up.ts";

/** Seconds to wait after the relay has told us to go away, so that two machines with one identity do not chase each other. */
const REFUSED_DELAY_MS = 15_000;

/** Who comes back waits so long, in milliseconds, until it asks where it is seen: the welcome, and what applications want, go first. */
const OBSERVE_DELAY = 8;

/** See the module's head. */
export class RelayLink {
  readonly #options: RelayLinkOptions;
  readonly #reconnect: Driver<ReconnectInput, ReconnectOutput>;
  readonly #session: Driver<ClientInput, ClientOutput>;
  readonly #doubt = new RelayDoubt({
    ask: () => this.#session.tell({ type: "check" }),
    silent: () => this.#reason = "it does not know us any more, as after a restart",
  });
  readonly #attempts = new Map<number, QuicConnection>();
  readonly #startedAt = new Map<number, number>();
  #current:
    | { attempt: number; connection: QuicConnection; channel: FrameChannel; early: boolean }
    | undefined;
  #earlyData: EarlyDataState | null = null;
  #address: Address | undefined;
  #state: RelayLinkStatus["state"] = "connecting";
  #reason: string | null = null;
  #retryAt = 0;
  #connectMs: number | null = null;
  #minDelayMs = 0;
  #stopped = false;
  readonly #reach: RelayReach;

  constructor(options: RelayLinkOptions) {
    this.#options = options;
    this.#reach = new RelayReach(options.relays);
    const { clock } = options;
    this.#reconnect = new Driver(new Reconnect(Math.random), {
      clock,
      tick: { type: "tick" },
      output: (output) => this.#reconnectOutput(output),
    });
    const instance = toHex(crypto.getRandomValues(new Uint8Array(8)));
    this.#session = new Driver(
      new ClientSession({ kind: options.kind, software: `postern/${VERSION}`, instance }),
      { clock, tick: { type: "tick" }, output: (output) => this.#sessionOutput(output) },
    );
  }

  /** Where the relay is just now; `undefined` while there is no connection. Stays while a lost one is being replaced. */
  get address(): Address | undefined {
    return this.#address;
  }

  /** Every address at which the relay may be reached, as last resolved. */
  get addresses(): readonly Address[] {
    return this.#reach.addresses;
  }
  /** The relay socket as the relay sees it, by the datagrams that it sends on the control connection. */
  readonly observed: { v4: Address | undefined; v6: Address | undefined } = {
    v4: undefined,
    v6: undefined,
  };

  /** Welcomed by the relay. */
  get connected(): boolean {
    return this.#state === "connected";
  }

  /** The connection in use. */
  get connection(): QuicConnection | undefined {
    return this.#current?.connection;
  }

  /** Requests and sealed datagrams may be sent: welcomed, or early. */
  get usable(): boolean {
    return this.#state === "connected" || this.#current?.early === true;
  }

  /** What became of this connection's early data; null before the relay has said it. */
  get earlyData(): EarlyDataState | null {
    return this.#state === "connected" ? this.#earlyData : null;
  }

  /** Why it is not connected, in words. */
  get reason(): string | null {
    return this.#reason;
  }

  start(): void {
    this.#reconnect.tell({ type: "start" });
  }

  /** Ends the connection, telling the relay. */
  stop(): void {
    this.#stopped = true;
    this.#options.ticket?.stop();
    this.#state = "closed";
    this.#reconnect.tell({ type: "stop" });
    this.#reconnect.stop();
    this.#doubt.stop();
    this.#session.stop();
    this.#current?.connection.close(0, "stopping");
    for (const connection of this.#attempts.values()) connection.close(0, "stopping");
  }

  /** Tells the session something (see `ClientSession`). */
  tell(input: ClientInput): void {
    this.#session.tell(input);
  }

  /** The network has changed: what failed before may work now, and what works may not. */
  networkChanged(): void {
    const peer = this.#current?.connection.peer;
    const { lost, anew } = this.#reach.changed(peer);
    if (lost) this.#giveUp(`this machine has no way to ${peer?.key} any more`);
    this.#reconnect.tell({ type: "wake", anew });
    this.#session.tell({ type: "check" });
    this.poke();
  }

  /** This machine has slept for so long, in milliseconds: the relay may have given us up. `first` comes before the way back. */
  slept(ms: number, first: () => void): void {
    const late = ms >= CONTROL_IDLE_TIMEOUT;
    if (late) this.#giveUp(`this machine has slept for ${Math.round(ms)} ms`);
    first();
    if (late) this.#reconnect.tell({ type: "wake" });
  }

  #giveUp(reason: string): void {
    if (this.#current) this.#reason = reason;
    this.#current?.connection.abandon();
  }

  /** Sends the relay a packet: where our NAT has given us another address, it learns it, and forwards to it and from it. */
  poke(): void {
    if (this.#current) announce(this.#current.connection);
  }

  /** Sends what was said so far now, not at the end of the turn. */
  sendNow(): void {
    if (this.#current) this.#options.endpoint.sendNow(this.#current.connection);
  }

  /** See {@linkcode RelayDoubt}. */
  unknownThere(echo: string, from: Address): void {
    if (this.connected) this.#doubt.raise(this.#current!.connection, { echo, from });
  }

  status(): RelayLinkStatus {
    const waiting = this.#state === "waiting";
    return {
      state: this.#state,
      address: this.#address?.key ?? null,
      rttMs: this.#current?.connection.rttMs() ?? null,
      earlyData: this.earlyData,
      connectMs: this.#connectMs,
      reason: this.#reason,
      retryInMs: waiting ? Math.max(0, this.#retryAt - this.#options.clock.now()) : null,
    };
  }

  #reconnectOutput(output: ReconnectOutput): void {
    switch (output.type) {
      case "resolve":
        this.#state = "connecting";
        return this.#reach.find({
          found: (addresses) => this.#reconnect.tell({ type: "addresses", addresses }),
          elsewhere: () => !this.connected && this.#reconnect.tell({ type: "wake", anew: true }),
        });
      case "attempt":
        return this.#attempt(output.attempt, output.address, output.early);
      case "abandon":
        this.#attempts.get(output.attempt)?.close(0, "");
        this.#attempts.delete(output.attempt);
        return;
      case "waiting":
        this.#state = "waiting";
        this.#reason = output.reason;
        this.#retryAt = this.#options.clock.now() + output.retryInMs;
        this.#options.log.warn("relay is out of reach", {
          reason: output.reason,
          retryInMs: Math.round(output.retryInMs),
          failures: output.failures,
        });
    }
  }

  #attempt(attempt: number, address: Address, early: boolean): void {
    const { endpoint, socket, serverName, config, log } = this.#options;
    log.debug("connecting to relay", { relay: address.key });
    this.#startedAt.set(attempt, performance.now());
    const back = early ? this.#options.ticket?.forReturn() : undefined;
    let connection: QuicConnection | undefined;
    const flight = new FirstFlight(
      socketEgress(socket),
      () => connection?.packetsIn ?? 0,
    );
    try {
      connection = endpoint.connect({
        ...(back ? { session: back.session } : {}),
        config: config(),
        egress: flight,
        local: socket.local,
        peer: address,
        serverName,
        handler: {
          established: () => {
            flight.stop();
            this.#established(attempt, address);
          },
          datagram: (data) => this.#datagram(attempt, data),
          closed: (reason) => {
            flight.stop();
            this.#closed(attempt, reason);
          },
        },
      });
    } catch (error) {
      flight.stop();
      this.#reconnect.tell({ type: "failed", attempt, reason: String(error) });
      return;
    }
    this.#attempts.set(attempt, connection);
    if (!back || !connection.inEarlyData) return;
    this.#begin({ attempt, connection, address, early: true, issuedAt: back.issuedAt });
    // To begin asking takes some milliseconds of computing: the hello goes first.
    this.sendNow();
    if (this.#options.kind === "connector") setTimeout(warmUp, 1);
    const { observe } = back;
    if (!observe) return;
    // A new agent asks where it is seen before it lets applications in, and one that wakes up or comes elsewhere has asked by itself.
    if (this.#options.kind === "agent" && !this.#reach.served) this.#options.observe(observe);
    else {
      const ask = () => !this.#stopped && this.#options.observe(observe);
      setTimeout(() => setTimeout(ask, OBSERVE_DELAY));
    }
  }

  #established(attempt: number, address: Address): void {
    const connection = this.#attempts.get(attempt);
    if (!connection) return;
    this.#reconnect.tell({ type: "connected", attempt });
    // The machine may have preferred another that was ready before.
    if (!this.#attempts.has(attempt)) return;
    // What was sent early and refused, QUIC has sent again by itself.
    if (this.#current?.attempt === attempt) return;
    this.#begin({ attempt, connection, address, early: false, issuedAt: null });
  }

  /** Writes the hello, and all that is wanted of the relay, into this connection's control stream. */
  #begin(begun: {
    attempt: number;
    connection: QuicConnection;
    address: Address;
    early: boolean;
    issuedAt: number | null;
  }): void {
    const { attempt, connection, address, early, issuedAt } = begun;
    const stream = connection.openStream();
    if (!stream) {
      if (!early) connection.close(1, "no stream for the control messages");
      return;
    }
    this.#address = address;
    const channel = new FrameChannel(stream, {
      frame: (json) => {
        if (this.#current?.attempt !== attempt) return;
        this.#doubt.heard();
        const parsed = parseRelayMessage(json);
        if ("ok" in parsed) this.#session.tell({ type: "message", message: parsed.ok });
        else this.#session.tell({ type: "refusal", refusal: parsed.refused });
      },
      refused: ({ message }) => {
        if (this.#current?.attempt !== attempt) return;
        this.#session.tell({ type: "refusal", refusal: { code: "protocol", message } });
      },
    });
    this.#current = { attempt, connection, channel, early };
    const nonce = toBase64Url(crypto.getRandomValues(new Uint8Array(16)));
    this.#session.tell({ type: "start", attempt, nonce, issuedAt });
    if (early) this.#options.usable();
  }

  /** The relay tells where it sees us. */
  #datagram(attempt: number, data: Uint8Array): void {
    const address = decodeQadAddress(data);
    if (!address || this.#current?.attempt !== attempt) return;
    const family = address.family === 4 ? "v4" : "v6";
    const before = this.observed[family];
    this.observed[family] = address;
    if (before && before.key !== address.key) this.#options.followed();
  }

  #closed(attempt: number, reason: CloseReason): void {
    this.#attempts.delete(attempt);
    this.#startedAt.delete(attempt);
    const text = describeClose(reason);
    if (this.#current?.attempt === attempt) {
      this.#current = undefined;
      this.#session.tell({ type: "lost" });
      if (this.#stopped) return;
      if (this.#state === "connected") {
        this.#options.log.warn("lost the relay", { reason: this.#reason ?? text });
      }
      if (this.#state !== "refused") this.#state = "connecting";
      this.#reason ??= text;
      const minDelayMs = this.#minDelayMs;
      this.#minDelayMs = 0;
      this.#reconnect.tell({ type: "lost", attempt, reason: this.#reason, minDelayMs });
    } else {
      this.#reconnect.tell({ type: "failed", attempt, reason: text });
    }
  }

  #welcomed(welcome: RelayMessageOf<"welcome">, elapsedMs: number): void {
    const asking = observeFactsOf(welcome);
    if (asking) this.#options.observe(asking);
    const { ticket } = this.#options;
    ticket?.welcomed(welcome, elapsedMs);
    if (this.#current && this.#address) ticket?.keep(this.#current.connection, this.#address.key);
  }

  #sessionOutput(output: ClientOutput): void {
    switch (output.type) {
      case "send":
        this.#current?.channel.send(output.message);
        return;
      case "welcome":
        this.#state = "connected";
        this.#reach.welcomed();
        this.#reason = null;
        this.#connectMs = performance.now() -
          (this.#startedAt.get(this.#current?.attempt ?? -1) ?? performance.now());
        // What never came as early data, as TLS did not take it, the relay does not know of.
        this.#earlyData = output.welcome.early === "accepted" ? "accepted" : "refused";
        if (!this.#current?.early) this.#earlyData = "none";
        this.#welcomed(output.welcome, output.elapsedMs);
        this.#options.log.info("connected to relay", {
          relay: this.#address?.key,
          ms: Math.round(this.#connectMs),
          early: this.#earlyData,
        });
        this.#options.output(output);
        this.#options.usable();
        return;
      case "close": {
        // Only a relay that turned us away is given time; a broken connection is replaced at once.
        if (output.by === "relay" && output.code !== "draining") {
          this.#minDelayMs = REFUSED_DELAY_MS;
        }
        this.#reason = output.message;
        if (output.by === "relay") this.#state = "refused";
        this.#options.log.warn("relay connection ends", { by: output.by, reason: output.message });
        this.#current?.connection.close(0, output.message.slice(0, 200));
        if (output.code !== "silent") break;
        // Nobody is there to answer that: it is said once, and not waited for.
        this.sendNow();
        this.#current?.connection.abandon();
        break;
      }
    }
    this.#options.output(output);
  }
}
