/**
 * Moves bytes between a TCP connection and a QUIC stream, both ways, as fast as the slower side takes them and not a byte
 * faster: a read from TCP waits until the stream took all of the read before, so the sender's own TCP window closes.
 *
 * What a flow may hold here: one buffer per direction (256 KiB at most) and the stream's flow-control window in the engine.
 * @module
 */
import { type QuicStream, STREAM_END } from "../quic/mod.ts";
import { borrowBuffer, PipeBuffer, returnBuffer } from "./buffer_pool.ts";

/** The TCP side of a flow: what a `Deno.TcpConn` offers. */
export interface ByteConn {
  read(into: Uint8Array): Promise<number | null>;
  write(data: Uint8Array): Promise<number>;
  closeWrite(): Promise<void>;
  close(): void;
}

/** What a pipe waits for just now, each since when (`performance.now()`); 0: for nothing. */
export interface PipeWaits {
  /** For the application to take what came. */
  application: number;
  /** For the tunnel to take what the application sent. */
  tunnel: number;
}

/** How a pipe says how it goes. */
export interface PipeEvents {
  /** The TCP side was reset or failed: the other end has to be told. */
  failed(error: unknown): void;
  readonly waits: PipeWaits;
}

/** From TCP into the stream, until TCP's end (then FIN) or failure. */
export async function pumpToStream(
  conn: ByteConn,
  stream: QuicStream,
  events: PipeEvents,
): Promise<void> {
  const own = new PipeBuffer();
  try {
    for (;;) {
      const buffer = own.take();
      let length: number | null;
      try {
        length = await conn.read(buffer);
      } catch (error) {
        events.failed(error);
        return;
      }
      if (length === null) {
        stream.finish();
        return;
      }
      events.waits.tunnel = performance.now();
      if (!await stream.writeAll(buffer.subarray(0, length))) return;
      events.waits.tunnel = 0;
      own.used(length);
    }
  } finally {
    own.release();
  }
}

/** From the stream into TCP, until the stream's end (then TCP's FIN) or failure. `first`: bytes that were read already. */
export async function pumpFromStream(
  stream: QuicStream,
  conn: ByteConn,
  events: PipeEvents,
  options: { first?: Uint8Array; aborted: () => boolean },
): Promise<void> {
  const own = new PipeBuffer();
  try {
    if (options.first && options.first.length > 0) await writeAll(conn, options.first);
    for (;;) {
      const buffer = own.take();
      const length = stream.read(buffer);
      if (length === 0) {
        own.release();
        await stream.readable();
        continue;
      }
      if (length === STREAM_END) {
        if (options.aborted() || stream.dead) return;
        // Whoever listens must not take a part for the whole.
        if (stream.reset) throw new Error("the other end gave the flow up");
        await conn.closeWrite();
        return;
      }
      // After an abort the rest is read and dropped, so that its flow-control credit comes back.
      if (options.aborted()) continue;
      events.waits.application = performance.now();
      await writeAll(conn, buffer.subarray(0, length));
      events.waits.application = 0;
      own.used(length);
    }
  } catch (error) {
    events.failed(error);
    own.release();
    await discard(stream);
  } finally {
    own.release();
  }
}

/** Reads a stream to its end and drops what comes. */
export async function discard(stream: QuicStream): Promise<void> {
  while (!stream.receiveFinished && !stream.dead) {
    const buffer = borrowBuffer();
    let length: number;
    do length = stream.read(buffer); while (length > 0);
    returnBuffer(buffer);
    if (length === STREAM_END) return;
    await stream.readable();
  }
}

async function writeAll(conn: ByteConn, data: Uint8Array): Promise<void> {
  let offset = 0;
  while (offset < data.length) offset += await conn.write(data.subarray(offset));
}
