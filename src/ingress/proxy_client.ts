/**
 * Reading and answering one proxy client: the part that SOCKS5 and HTTP share.
 * @module
 */
import type { Bytes } from "../core/mod.ts";
import type { TcpFlow } from "../mux/mod.ts";
import { withFirstBytes } from "./first_bytes.ts";
import { type Refusal, refusalOf, type TcpFlowOpener } from "./flow_opener.ts";

/** How long a client has for its request, in milliseconds: long for a person at `telnet`, short for what holds connections open on purpose. */
export const PROXY_REQUEST_MS = 30_000;

/** Bytes per read while a request is awaited; requests are smaller. */
const READ_BYTES = 4_096;

/** Longest that a refused client's further bytes are read so that it gets the answer instead of a reset, in milliseconds. */
const LINGER_MS = 1_000;

/** Ends reading a request at its deadline, by closing the connection. */
export function startRequestTimer(conn: { close(): void }, ms: number): () => void {
  const timer = setTimeout(() => {
    try {
      conn.close();
    } catch {
      // The client has left already.
    }
  }, ms);
  return () => clearTimeout(timer);
}

/** What came next, or `undefined` at the end. The array is the caller's. */
export async function readSome(conn: Deno.TcpConn): Promise<Bytes | undefined> {
  const buffer = new Uint8Array(READ_BYTES);
  const count = await conn.read(buffer);
  return count === null ? undefined : buffer.subarray(0, count);
}

/** Writes all. */
export async function writeAll(conn: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) done += await conn.write(bytes.subarray(done));
}

/** Writes a last answer and closes so that it arrives: FIN, then read to the end or for a moment, then close. */
export async function answerAndClose(conn: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  const stop = startRequestTimer(conn, LINGER_MS);
  try {
    await writeAll(conn, bytes);
    await conn.closeWrite();
    while (await readSome(conn));
  } catch {
    // The client has left, or the moment is over.
  } finally {
    stop();
  }
}

/**
 * A flow that the service's side has accepted, or why there is none. A proxy waits for that, unlike a forward, as its
 * protocol has words for a refusal.
 */
export async function openAccepted(
  open: TcpFlowOpener,
  service: string,
  peer: string,
): Promise<{ flow: TcpFlow } | { refusal: Refusal }> {
  let flow: TcpFlow | undefined;
  try {
    flow = await open.openTcp(service, peer);
    await flow.accepted;
    return { flow };
  } catch (error) {
    flow?.abort();
    return { refusal: refusalOf(error) };
  }
}

/** Tells the client that its flow is open, and carries it; `rest` is what it had sent behind its request. */
export async function answerAndPipe(
  conn: Deno.TcpConn,
  { flow, answer, rest }: { flow: TcpFlow; answer: Bytes; rest: Bytes },
): Promise<void> {
  try {
    await writeAll(conn, answer);
  } catch (error) {
    flow.abort();
    throw error;
  }
  await flow.pipe(withFirstBytes(conn, rest));
}
