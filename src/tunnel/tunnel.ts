/**
 * The end-to-end connection between an agent and a connector: one QUIC connection, its control stream, its flows, and the
 * path it runs on. Both ends are this class; the agent opens, the connector accepts.
 * @module
 */
import { FrameChannel } from "../control/frame_channel.ts";
import { messageOf } from "../core/mod.ts";
import { VERSION } from "../core/version.ts";
import { FlowRefused, Mux, type TcpFlow, type UdpFlow } from "../mux/mod.ts";
import {
  type CloseReason,
  type ConnectionHandler,
  describeClose,
  type QuicConnection,
  type QuicStream,
} from "../quic/mod.ts";
import type { TunnelDirect } from "./direct_part.ts";
import { isRelayed } from "./sealed.ts";
import type { TunnelEgress } from "./tunnel_egress.ts";
import { parseTunnelMessage, type TunnelMessage } from "./tunnel_message.ts";
import type { TunnelEnd, TunnelOptions } from "./tunnel_options.ts";
import { TunnelPings } from "./tunnel_pings.ts";

/** Between signs of life on an idle tunnel: under the 30 s after which common NATs forget a mapping (RFC 4787 §4.3 allows 120 s). */
const KEEP_ALIVE_INTERVAL = 20_000;

/**
 * When the handshake's packets are sent again, in milliseconds: after a little more than a round trip over the relay, which
 * is about twice our own to the relay; then later and later, until QUIC's own timers have long taken over.
 */
const RESEND_MIN = 30;
const RESEND_MAX = 600;
const RESENDS = 5;
/** The handshake's end is small, and lost only with a path: it is sent again a few times. */
const CONFIRM_RESENDS = 4;
/** Round trip to the relay while it is not known, in milliseconds. */
const DEFAULT_RELAY_RTT = 60;
/** Control messages kept until the other end is believed; an honest one sends two or three. */
const MAX_HELD = 16;

/** A tunnel. */
export class Tunnel {
  readonly id: string;
  readonly end: TunnelEnd;
  /** The other end's name; empty while an agent does not know it yet. */
  peer: string;
  readonly egress: TunnelEgress;
  readonly mux: Mux;
  readonly startedAt: number = performance.now();
  /** Its direct side, where it has one. */
  direct: TunnelDirect | undefined;
  /** What the agent may open through it, as far as known. */
  services: readonly string[] = [];
  /** Agent: those of them whose flows wait for the handshake, as far as known. */
  noEarlyServices: readonly string[] = [];
  /** Was what travelled before the end of the handshake acted on? */
  earlyData: "accepted" | "refused" | "none" = "none";
  /** Milliseconds from the start until it was open. */
  openedMs: number | undefined;
  readonly #options: TunnelOptions<Tunnel>;
  readonly #connection: QuicConnection;
  readonly #open = Promise.withResolvers<void>();
  readonly #proven = Promise.withResolvers<void>();
  readonly #pings = new TunnelPings((id) => this.send({ type: "ping", id }));
  #control: FrameChannel | undefined;
  #live = false;
  /** Agent: the connector's handshake is over, too. */
  #confirmed = false;
  /** Until the first packets are sent again, in milliseconds. */
  readonly #resendDelay: number;
  #saidEarly = false;
  /** Control messages that came before the other end was believed. */
  #held: TunnelMessage[] = [];
  #closing = false;
  #keepAlive: ReturnType<typeof setInterval> | undefined;
  #resend: ReturnType<typeof setTimeout> | undefined;
  #packetsSeen = 0;

  private constructor(connection: QuicConnection, options: TunnelOptions<Tunnel>) {
    this.#connection = connection;
    this.#options = options;
    this.id = options.id;
    this.end = options.end;
    this.peer = options.peer;
    this.egress = options.egress;
    this.#open.promise.catch(() => {});
    this.#proven.promise.catch(() => {});
    const rtt = options.relayRttMs ?? DEFAULT_RELAY_RTT;
    this.#resendDelay = Math.min(RESEND_MAX, RESEND_MIN + 2.2 * rtt);
    this.#armResend(this.#resendDelay, RESENDS);
    this.mux = new Mux(connection, {
      peer: options.peer,
      sendAbort: (stream) => this.send({ type: "abort", stream }),
      ...(options.accept ? { accept: options.accept } : {}),
      ...(options.acceptUdp ? { acceptUdp: options.acceptUdp } : {}),
    });
  }

  /** The agent's end, on a connection that it has just started with {@linkcode handlerOf} this tunnel. */
  static create(
    options: TunnelOptions<Tunnel>,
    connect: (handler: ConnectionHandler) => QuicConnection,
  ): Tunnel {
    const cell: { tunnel?: Tunnel } = {};
    const connection = connect(Tunnel.#handler(cell));
    return cell.tunnel = new Tunnel(connection, options);
  }

  /** The handler looks the tunnel up at each call: the engine calls nobody before the first packet is in. */
  static #handler(cell: { tunnel?: Tunnel }): ConnectionHandler {
    return {
      established: () => cell.tunnel!.#established(),
      stream: (stream) => cell.tunnel!.#stream(stream),
      // Before the other end is believed its packets are lost, as packets may be.
      datagram: (data) => cell.tunnel!.#live && cell.tunnel!.mux.datagram(data),
      path: (event) => cell.tunnel!.direct?.pathEvent(event),
      idsGiven: () => cell.tunnel!.direct?.idsGiven(),
      heard: () => cell.tunnel!.direct?.heard(),
      closed: (reason) => cell.tunnel!.#closed(reason),
    };
  }

  get connection(): QuicConnection {
    return this.#connection;
  }

  /** Over, or about to be: this end has closed it. */
  get closed(): boolean {
    return this.#closing || this.#connection.closed;
  }

  /** Open: the other end is who it should be, as the handshake or a ticket has shown. */
  get isOpen(): boolean {
    return this.#live && !this.closed;
  }

  /** The path in use. */
  get path(): "direct" | "relayed" {
    return isRelayed(this.#connection.peer) ? "relayed" : "direct";
  }

  /** Resolves when the tunnel is open; rejects when it ends before. */
  get ready(): Promise<void> {
    return this.#open.promise;
  }

  /** Resolves when the handshake is over: no recording can do that. Rejects as {@linkcode ready} does. */
  get proven(): Promise<void> {
    return this.#proven.promise;
  }

  /**
   * Opens a TCP flow to a service; waits for the tunnel to be open, and where that service wants nothing early for the
   * handshake, too.
   *
   * @throws {FlowRefused} where the tunnel ends before
   */
  async openTcp(service: string, peer: string): Promise<TcpFlow> {
    await this.#readyFor(service);
    return this.mux.openTcp(service, peer);
  }

  /** Opens a UDP flow to a service; as {@linkcode openTcp}. */
  async openUdp(service: string, peer: string): Promise<UdpFlow> {
    await this.#readyFor(service);
    return await this.mux.openUdp(service, peer);
  }

  async #readyFor(service: string): Promise<void> {
    await this.ready;
    if (this.noEarlyServices.includes(service)) await this.proven;
  }

  /** Round trip through the tunnel in milliseconds, on whatever path it is; `undefined` when no answer came. */
  async ping(timeoutMs = 5_000): Promise<number | undefined> {
    await this.ready;
    return await this.#pings.ping(timeoutMs);
  }

  /** Says something on the control stream; lost where the tunnel is not open. */
  send(message: TunnelMessage): void {
    this.#control?.send(message);
  }

  /** Sends a packet that asks for an answer, so that QUIC looks at the path now and not when its timer says so. */
  poke(): void {
    if (this.closed) return;
    this.#connection.native.sendAckEliciting();
    this.#connection.touched();
  }

  /** Sends the first packets once more: they have surely not arrived. Nothing where the handshake is over. */
  resendFlight(): void {
    if (!this.closed && !this.#connection.established) this.egress.resendFlight();
  }

  /** No new flows at either end. */
  drain(graceMs: number): void {
    this.mux.drain();
    this.send({ type: "draining", graceMs });
  }

  /**
   * Ends the tunnel; its flows are reset at both ends: now, or `soon`, behind what is more urgent, where the other end has most
   * probably ended it long ago: that is said once, and neither waited for nor all read that has come meanwhile.
   */
  close(text: string, { soon = false } = {}): void {
    if (this.#closing) return;
    this.#closing = true;
    const end = () => {
      this.mux.abortFlows(() => true);
      this.#connection.close(0, text);
      if (soon) setTimeout(() => this.#connection.abandon());
    };
    if (soon) setTimeout(end);
    else end();
  }

  /**
   * Agent, right after the start with a ticket: says everything in the first flight. Whoever can read it has the ticket's key, and
   * so is who it was made for; the certificate is looked at again when the handshake is over.
   */
  startEarly(): void {
    if (!this.#connection.inEarlyData || this.#live) return;
    this.#saidEarly = true;
    this.#goLive();
  }

  #established(): void {
    this.#proven.resolve();
    clearTimeout(this.#resend);
    if (this.end === "agent") this.#awaitConfirmation();
    else this.egress.dropFlight();
    const verdict = this.#options.verify(this.#connection.peerCertificates() ?? []);
    if (verdict instanceof Promise) {
      // The relay may never say who it should be: then it is nobody.
      verdict.then(
        (refusal) => this.#verified(refusal),
        (error) => this.#verified(messageOf(error)),
      );
    } else this.#verified(verdict);
  }

  /**
   * An agent's handshake is over for it when its last packets have left, and for the connector when they have arrived. Lost
   * ones the engine does not send on another path, so they are sent again until the connector shows that it has them.
   */
  #awaitConfirmation(): void {
    this.egress.restartFlight();
    this.#armResend(this.#resendDelay, CONFIRM_RESENDS);
    // The answer to a question that was not early: the connector reads it only when its handshake is over.
    if (this.#saidEarly) void this.ping().then((ms) => ms !== undefined && this.#confirm());
  }

  #confirm(): void {
    if (this.#confirmed) return;
    this.#confirmed = true;
    clearTimeout(this.#resend);
    this.egress.dropFlight();
  }

  #verified(refusal: string | undefined): void {
    if (this.closed) return;
    if (refusal !== undefined) {
      this.#options.log.warn("tunnel refused", { peer: this.peer, reason: refusal });
      this.#connection.close(1, refusal);
      this.#open.reject(new FlowRefused("not-granted", refusal));
      return;
    }
    if (!this.#live) this.#goLive();
  }

  /** From here on the other end is believed: control messages and flows go both ways. */
  #goLive(): void {
    this.#live = true;
    this.openedMs = performance.now() - this.startedAt;
    // The agent needs what QUIC has to say now, connection ids among it; what follows here takes a few milliseconds.
    if (this.end === "connector" && this.#connection.established) this.#connection.hurry();
    if (this.end === "agent") {
      const stream = this.#connection.openStream();
      if (!stream) {
        this.#connection.close(1, "no stream for the control messages");
        return;
      }
      this.#startControl(stream);
      const stamp = this.#options.stamp;
      this.send({
        type: "hello",
        software: `postern/${VERSION}`,
        issuedAt: stamp?.issuedAt ?? null,
        ...(stamp ? { nonce: stamp.nonce } : {}),
      });
      this.#keepAlive = setInterval(() => this.#stayAlive(), KEEP_ALIVE_INTERVAL);
    }
    this.#open.resolve();
    this.#options.onOpen?.(this);
    for (const message of this.#held.splice(0)) this.#message(message);
  }

  /**
   * A lost packet of the handshake would cost QUIC a second, as it knows no round trip yet. We know about how long an answer
   * takes, and send the same packets again when it is overdue.
   */
  #armResend(delayMs: number, left: number): void {
    this.#resend = setTimeout(() => {
      const over = this.end === "agent" ? this.#confirmed : this.#connection.established;
      if (this.closed || over) return;
      this.egress.resendFlight();
      if (left > 1) this.#armResend(delayMs * 1.6, left - 1);
    }, delayMs);
  }

  #stream(stream: QuicStream): void {
    // The control stream is listened to at once, as it says whether what comes early may be believed. Flows wait for that.
    if (this.end === "connector" && stream.id === 0) this.#startControl(stream);
    else if (!this.#live) void this.ready.then(() => this.#stream(stream), () => {});
    else void this.mux.accept(stream);
  }

  #startControl(stream: QuicStream): void {
    this.#control = new FrameChannel(stream, {
      frame: (json) => this.#frame(json),
      refused: ({ message }) => this.#connection.close(2, message),
    });
  }

  #frame(json: unknown): void {
    const message = parseTunnelMessage(json);
    if (!message) return;
    if (!this.#saidEarly && this.#connection.established) this.#confirm();
    if (!this.#live) {
      if (message.type === "hello") this.#earlyHello(message);
      if (!this.#live) {
        if (this.#held.length < MAX_HELD) this.#held.push(message);
        return;
      }
    }
    this.#message(message);
  }

  /** Came before the handshake was over: maybe a flight that somebody has recorded, and plays again. */
  #earlyHello({ nonce, issuedAt }: Extract<TunnelMessage, { type: "hello" }>): void {
    const { judge, verify } = this.#options;
    if (this.#connection.established) return;
    this.earlyData = "refused";
    if (nonce === undefined) return;
    // The certificate first: an end that is revoked or expired gets nothing, however good its ticket.
    const refusal = verify(this.#connection.peerCertificates() ?? []);
    if (refusal instanceof Promise || refusal !== undefined) return;
    if (!judge?.({ nonce, issuedAt })) return;
    this.earlyData = "accepted";
    this.#goLive();
  }

  #message(message: TunnelMessage): void {
    switch (message.type) {
      case "abort":
        return this.mux.peerAborted(message.stream);
      case "ping":
        return this.send({ type: "pong", id: message.id });
      case "pong":
        return this.#pings.pong(message.id);
      case "hello":
        return this.send({
          type: "welcome",
          ...(this.#options.welcome?.() ?? { now: 0, noEarlyServices: [] }),
          early: this.earlyData,
        });
      case "welcome":
        // Early data that came to nothing was sent again by QUIC, and then came after the handshake.
        if (this.#saidEarly) this.earlyData = message.early === "accepted" ? "accepted" : "refused";
        this.noEarlyServices = message.noEarlyServices;
        return this.#options.onWelcome?.(this, message);
      case "draining":
        return this.mux.drain();
      case "offer":
        return this.direct?.message(message);
    }
  }

  #stayAlive(): void {
    const { bytesIn, bytesOut } = this.mux;
    const seen = bytesIn + bytesOut;
    if (seen === this.#packetsSeen) this.poke();
    this.#packetsSeen = seen;
  }

  #closed(reason: CloseReason): void {
    clearInterval(this.#keepAlive);
    clearTimeout(this.#resend);
    this.direct?.stop();
    const why = describeClose(reason);
    const refused = new FlowRefused("target-unreachable", `Cannot reach "${this.peer}" as ${why}`);
    this.#open.reject(refused);
    this.#proven.reject(refused);
    this.#pings.end();
    this.#options.onClosed?.(this, reason);
  }
}
