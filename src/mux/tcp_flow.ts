/**
 * One TCP flow at one end of a tunnel: its stream, its TCP connection, and how it ends.
 *
 * | what happens here          | what the other end sees                             |
 * |----------------------------|-----------------------------------------------------|
 * | TCP FIN                    | FIN on the stream, then on its own TCP              |
 * | TCP reset or failure       | abort on the control stream + FIN; it resets its TCP |
 * | the tunnel dies            | (both ends) TCP reset                               |
 *
 * The stream itself is never reset (see `QuicStream`).
 * @module
 */
import type { QuicStream } from "../quic/mod.ts";
import type { FlowEnd, FlowHost, FlowInfo, StalledBy } from "./flow_end.ts";
import {
  type ByteConn,
  discard,
  type PipeEvents,
  type PipeWaits,
  pumpFromStream,
  pumpToStream,
} from "./tcp_pipe.ts";
import { resetConn } from "./tcp_reset.ts";

/** What moves waits all the time, but never for long: from here on, in milliseconds, a flow counts as held up. */
const STALL = 250;

/** One end of a TCP flow. */
export class TcpFlowEnd implements FlowEnd {
  readonly kind = "tcp";
  readonly stream: QuicStream;
  readonly info: FlowInfo;
  readonly openedAt: number = performance.now();
  readonly #host: FlowHost;
  readonly #waits: PipeWaits = { application: 0, tunnel: 0 };
  #conn: ByteConn | undefined;
  #aborted = false;
  #ended = false;

  constructor(stream: QuicStream, info: FlowInfo, host: FlowHost) {
    this.stream = stream;
    this.info = info;
    this.#host = host;
  }

  get id(): number {
    return this.stream.id;
  }

  get bytesIn(): number {
    return this.stream.bytesIn;
  }

  get bytesOut(): number {
    return this.stream.bytesOut;
  }

  get aborted(): boolean {
    return this.#aborted;
  }

  /** Has it ever had a TCP connection at this end? */
  get carried(): boolean {
    return this.#conn !== undefined;
  }

  /** Who has held it up for a while: the application at this end, or the tunnel (the path, or whoever reads at its end). */
  get stalledBy(): StalledBy | null {
    if (this.#ended) return null;
    const since = performance.now() - STALL;
    const { application, tunnel } = this.#waits;
    if (application > 0 && application < since) return "application";
    return tunnel > 0 && tunnel < since ? "tunnel" : null;
  }

  /**
   * Moves bytes until both directions are over; owns `conn` from now on. `first`: bytes that were read from the stream
   * already, maybe still to come; `undefined` from it means that the other end refused: the connection is reset, as a
   * refused port would. Never throws.
   */
  async pipe(
    conn: ByteConn,
    options: { first?: Promise<Uint8Array | undefined> } = {},
  ): Promise<void> {
    this.#conn = conn;
    if (this.#aborted || this.stream.dead) {
      resetConn(conn);
      await discard(this.stream);
      this.#end();
      return;
    }
    const events = { failed: () => this.abort(), waits: this.#waits };
    await Promise.all([
      pumpToStream(conn, this.stream, events),
      this.#pumpFromStream(conn, events, options.first),
    ]);
    if (this.stream.dead && !(this.stream.sendFinished && this.stream.receiveFinished)) {
      resetConn(conn);
    } else if (!this.#aborted) {
      try {
        conn.close();
      } catch {
        // Closed by the peer's reset.
      }
    }
    this.#end();
  }

  async #pumpFromStream(
    conn: ByteConn,
    events: PipeEvents,
    prefix?: Promise<Uint8Array | undefined>,
  ): Promise<void> {
    const first = await prefix;
    if (prefix && !first) {
      // Refused: the other end has finished and expects nothing, so no abort needs to travel.
      this.#aborted = true;
      this.#stop();
      await discard(this.stream);
      return;
    }
    await pumpFromStream(this.stream, conn, events, {
      ...(first ? { first } : {}),
      aborted: () => this.#aborted,
    });
    // The tunnel has died: whoever only listens would wait for ever.
    if (this.stream.dead && !this.stream.receiveFinished) this.#stop();
  }

  /** Ends the flow here and at the other end; what is under way is lost. */
  abort(): void {
    if (this.#aborted || this.#ended) return;
    this.#aborted = true;
    if (!this.stream.dead) this.#host.sendAbort(this.stream.id);
    this.#stop();
    // Without a connection there is no pipe that would read the rest.
    if (!this.#conn) void this.giveUp();
  }

  /** The other end has aborted the flow. */
  peerAborted(): void {
    if (this.#aborted || this.#ended) return;
    this.#aborted = true;
    this.#stop();
  }

  /** Ends a flow that never got a TCP connection. */
  async giveUp(): Promise<void> {
    this.stream.finish();
    await discard(this.stream);
    this.#end();
  }

  #stop(): void {
    this.stream.finish();
    if (this.#conn) resetConn(this.#conn);
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#host.flowEnded(this);
  }
}
