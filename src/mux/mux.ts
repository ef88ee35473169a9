/**
 * The flows in a tunnel: opens them at the agent, accepts them at the connector, and carries aborts.
 * @module
 */
import { type Bytes, concatBytes } from "../core/mod.ts";
import { type QuicConnection, type QuicStream, STREAM_END } from "../quic/mod.ts";
import {
  type Decoded,
  decodeFlowAnswer,
  decodeFlowHeader,
  encodeFlowAnswer,
  encodeFlowHeader,
  type FlowRequest,
  MAX_FLOW_ANSWER,
  MAX_FLOW_HEADER,
} from "./flow_codec.ts";
import { FlowRefused } from "./flow_refused.ts";
import type { ByteConn } from "./tcp_pipe.ts";
import type { FlowEnd, FlowHost, FlowInfo } from "./flow_end.ts";
import { TcpFlowEnd } from "./tcp_flow.ts";
import { type PacketConn, type UdpFlow, UdpFlowEnd } from "./udp_flow.ts";
import { MAX_UDP_FLOWS, type UdpDrops, UdpFlows } from "./udp_flows.ts";

/** A flow as whoever opened it sees it. */
export interface TcpFlow {
  /** Resolves when the other end has opened it; rejects with {@linkcode FlowRefused}. */
  readonly accepted: Promise<void>;
  /**
   * Takes over `conn` and moves bytes until both directions are over. Rejects with {@linkcode FlowRefused} (and resets
   * `conn`) where the other end refuses.
   */
  pipe(conn: ByteConn): Promise<void>;
  abort(): void;
}

/** What a mux needs of its tunnel. */
export interface MuxOptions {
  /** Tells the other end, on the control stream, that a flow was aborted. */
  readonly sendAbort: (streamId: number) => void;
  /**
   * Connector: finds the TCP connection for a flow, or throws {@linkcode FlowRefused}. Agents accept none.
   */
  readonly accept?: (request: FlowRequest) => Promise<ByteConn>;
  /** Connector: the same for a UDP flow. */
  readonly acceptUdp?: (request: FlowRequest) => Promise<PacketConn>;
  /** Who is at the other end, for status. */
  readonly peer: string;
  /** A flow began or ended. */
  readonly changed?: () => void;
}

/** Aborts remembered for flows whose stream has not arrived yet; the oldest is forgotten, and that flow merely ends. */
const MAX_EARLY_ABORTS = 4096;

/** The flows of one tunnel. */
export class Mux implements FlowHost {
  readonly #connection: QuicConnection;
  readonly #options: MuxOptions;
  readonly #flows = new Map<number, FlowEnd>();
  readonly #udp: UdpFlows;
  readonly #earlyAborts = new Set<number>();
  #draining = false;
  /** Told of each flow when it is over. */
  onFlowEnd: ((flow: FlowEnd) => void) | undefined;
  /** Bytes of flows that are over. */
  #pastIn = 0;
  #pastOut = 0;

  constructor(connection: QuicConnection, options: MuxOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#udp = new UdpFlows(connection, { accepts: options.acceptUdp !== undefined });
  }

  /** Flows that live now. */
  get flows(): ReadonlyMap<number, FlowEnd> {
    return this.#flows;
  }

  /** Flows worth waiting for before the end; a UDP flow has none of its own. */
  get unfinished(): number {
    let sum = 0;
    for (const { kind } of this.#flows.values()) if (kind === "tcp") sum++;
    return sum;
  }

  get bytesIn(): number {
    let sum = this.#pastIn;
    for (const flow of this.#flows.values()) sum += flow.bytesIn;
    return sum;
  }

  get bytesOut(): number {
    let sum = this.#pastOut;
    for (const flow of this.#flows.values()) sum += flow.bytesOut;
    return sum;
  }

  /**
   * Opens a TCP flow. Waits only while the other end allows no more streams.
   *
   * @throws {FlowRefused} where this end drains or the tunnel has ended
   */
  async openTcp(service: string, peer: string): Promise<TcpFlow> {
    const stream = await this.#openStream(service);
    const flow = this.#track(stream, { service, peer });
    // The header always fits: a stream's window is never smaller than it.
    const header = encodeFlowHeader({ kind: "tcp", service });
    const sent = stream.writeAll(header);
    const opened = sent.then(() => this.#readAnswer(stream, service));
    const accepted = opened.then(() => {});
    accepted.catch(() => {});
    return {
      accepted,
      abort: () => flow.abort(),
      pipe: async (conn) => {
        await sent;
        await this.#pipeOpened(flow, conn, opened);
      },
    };
  }

  /**
   * Opens a UDP flow. Does not wait for the other end's answer: where it refuses, the flow says so when it closes.
   *
   * @throws {FlowRefused} where this end drains, the tunnel has ended, or there are too many
   */
  async openUdp(service: string, peer: string): Promise<UdpFlow> {
    if (!this.#udp.makeRoom()) throw tooManyUdp(service);
    const stream = await this.#openStream(service);
    const flow = this.#trackUdp(stream, { service, peer }, { opener: true });
    flow.writeStream(encodeFlowHeader({ kind: "udp", service }));
    void flow.run(this.#readAnswer(stream, service));
    return flow;
  }

  /** Packets of UDP flows that were dropped at this end. */
  get udpDrops(): Readonly<UdpDrops> {
    return this.#udp.drops;
  }

  /** A DATAGRAM came. */
  datagram(data: Uint8Array): void {
    this.#udp.datagram(data);
  }

  /** Connector: the agent opened a stream. */
  async accept(stream: QuicStream): Promise<void> {
    const { accept } = this.#options;
    const header = await readPrefix(stream, MAX_FLOW_HEADER, decodeFlowHeader);
    const service = header.state === "done" ? header.value.service : "?";
    if (header.state === "done" && header.value.kind === "udp") {
      return await this.#acceptUdp(stream, header.value, header.rest);
    }
    const flow = this.#track(stream, { service, peer: this.#options.peer });
    if (this.#earlyAborts.delete(stream.id)) flow.peerAborted();
    try {
      if (header.state !== "done") {
        throw new FlowRefused(
          "malformed",
          header.state === "malformed" ? header.reason : "flow without a header",
        );
      }
      if (!accept) throw new FlowRefused("unknown-service", "Cannot accept flows at an agent");
      if (this.#draining) throw draining(service);
      const conn = await accept(header.value);
      await stream.writeAll(encodeFlowAnswer({ open: true }));
      await flow.pipe(conn, { first: Promise.resolve(header.rest) });
    } catch (error) {
      await stream.writeAll(refusalAnswer(error, service));
      await flow.giveUp();
    }
  }

  /** The other end says that it aborted a flow. */
  peerAborted(streamId: number): void {
    const flow = this.#flows.get(streamId);
    if (flow) {
      flow.peerAborted();
      return;
    }
    if (this.#earlyAborts.size >= MAX_EARLY_ABORTS) {
      for (const oldest of this.#earlyAborts) {
        this.#earlyAborts.delete(oldest);
        break;
      }
    }
    this.#earlyAborts.add(streamId);
  }

  /** No new flows from now on. */
  drain(): void {
    this.#draining = true;
  }

  /** Aborts every flow for which `which` says so. */
  abortFlows(which: (flow: FlowEnd) => boolean): void {
    for (const flow of [...this.#flows.values()]) if (which(flow)) flow.abort();
  }

  sendAbort(streamId: number): void {
    this.#options.sendAbort(streamId);
  }

  flowEnded(flow: FlowEnd): void {
    if (!this.#flows.delete(flow.id)) return;
    this.#pastIn += flow.bytesIn;
    this.#pastOut += flow.bytesOut;
    this.onFlowEnd?.(flow);
    this.#options.changed?.();
  }

  #track(stream: QuicStream, info: FlowInfo): TcpFlowEnd {
    const flow = new TcpFlowEnd(stream, info, this);
    this.#flows.set(stream.id, flow);
    this.#options.changed?.();
    return flow;
  }

  #trackUdp(stream: QuicStream, info: FlowInfo, options: { opener: boolean }): UdpFlowEnd {
    const flow = new UdpFlowEnd(stream, info, {
      sendDatagram: (prefix, packet) => this.#udp.send(prefix, packet),
      dropped: (why) => void this.#udp.drops[why]++,
      flowClosed: (closed) => this.#udp.remove(closed),
      flowEnded: (ended) => this.flowEnded(ended),
    }, options);
    this.#flows.set(stream.id, flow);
    this.#udp.add(flow);
    this.#options.changed?.();
    return flow;
  }

  async #acceptUdp(stream: QuicStream, request: FlowRequest, rest: Uint8Array): Promise<void> {
    const { service } = request;
    const { acceptUdp, peer } = this.#options;
    const room = this.#udp.makeRoom();
    const flow = this.#trackUdp(stream, { service, peer }, { opener: false });
    if (this.#earlyAborts.delete(stream.id)) flow.peerAborted();
    const over = flow.run(Promise.resolve(rest));
    try {
      if (!acceptUdp) throw new FlowRefused("unknown-service", "Cannot accept flows at an agent");
      if (this.#draining) throw draining(service);
      if (!room) throw tooManyUdp(service);
      const conn = await acceptUdp(request);
      flow.writeStream(encodeFlowAnswer({ open: true }));
      flow.attach(conn);
    } catch (error) {
      flow.writeStream(refusalAnswer(error, service));
      flow.close();
    }
    await over;
  }

  /** Waits only while the other end allows no more streams. */
  async #openStream(service: string): Promise<QuicStream> {
    let stream: QuicStream | undefined;
    while (!stream) {
      if (this.#draining) throw draining(service);
      if (this.#connection.closed) {
        throw new FlowRefused(
          "target-unreachable",
          `Cannot open flow to "${service}" as the tunnel has ended`,
        );
      }
      stream = this.#connection.openStream();
      if (!stream) await this.#connection.streamCredit();
    }
    return stream;
  }

  async #readAnswer(stream: QuicStream, service: string): Promise<Uint8Array> {
    const answer = await readPrefix(stream, MAX_FLOW_ANSWER, decodeFlowAnswer);
    if (answer.state !== "done") {
      const why = answer.state === "malformed" ? answer.reason : "the tunnel ended";
      throw new FlowRefused("target-unreachable", `Cannot open flow to "${service}" as ${why}`);
    }
    if (!answer.value.open) throw new FlowRefused(answer.value.refusal, answer.value.message);
    return answer.rest;
  }

  async #pipeOpened(flow: TcpFlowEnd, conn: ByteConn, opened: Promise<Uint8Array>): Promise<void> {
    let refused: FlowRefused | undefined;
    const first = opened.catch((error) => {
      refused = error;
      return undefined;
    });
    await flow.pipe(conn, { first });
    if (refused) throw refused;
  }
}

function draining(service: string): FlowRefused {
  return new FlowRefused(
    "draining",
    `Cannot open flow to "${service}" as Postern is stopping`,
  );
}

function tooManyUdp(service: string): FlowRefused {
  return new FlowRefused(
    "too-many",
    `Cannot open flow to "${service}" as ${MAX_UDP_FLOWS} UDP flows are in use already`,
  );
}

function refusalAnswer(error: unknown, service: string): Bytes {
  const refused = error instanceof FlowRefused
    ? error
    : new FlowRefused("target-unreachable", `Cannot open flow to "${service}"`);
  return encodeFlowAnswer({ open: false, refusal: refused.refusal, message: refused.message });
}

/** Reads the beginning of a stream until `decode` has what it needs, and keeps what came behind it. */
async function readPrefix<T>(
  stream: QuicStream,
  max: number,
  decode: (bytes: Uint8Array) => Decoded<T>,
): Promise<
  { state: "done"; value: T; rest: Uint8Array } | { state: "ended" } | {
    state: "malformed";
    reason: string;
  }
> {
  let have = new Uint8Array(0);
  const buffer = new Uint8Array(max);
  for (;;) {
    const length = stream.read(buffer);
    if (length === STREAM_END) return { state: "ended" };
    if (length === 0) {
      await stream.readable();
      continue;
    }
    have = concatBytes(have, buffer.subarray(0, length));
    const decoded = decode(have);
    if (decoded.state === "malformed") return decoded;
    if (decoded.state === "done") {
      return { state: "done", value: decoded.value, rest: have.subarray(decoded.length) };
    }
  }
}
