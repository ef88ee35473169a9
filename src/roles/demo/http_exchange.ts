/**
 * One HTTP/1.1 request on a connection of its own (RFC 9112), straight to a local port: no proxy of the environment is
 * asked, and long bodies are neither kept nor copied.
 * @module
 */
import { decodeUtf8, encodeUtf8 } from "../../core/mod.ts";

/** Bytes read at once. */
const READ_SIZE = 256 * 1024;
/** Bytes that a response's head may have; more is no answer of our service. */
const MAX_HEAD = 16 * 1024;

/** A request. */
export interface HttpExchange {
  readonly port: number;
  readonly path: string;
  /** Sends these bytes as the body of a PUT; without them it is a GET. */
  readonly body?: { readonly length: number; readonly chunks: Iterable<Uint8Array> };
  /** Told of body bytes: of the request as they are sent, else of the response as they come. */
  readonly onBytes?: (bytes: Uint8Array) => void;
  /** Hangs up when aborted. */
  readonly signal?: AbortSignal;
}

/** A response. The body of a GET with `onBytes` is not kept. */
export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
  /** From the first byte sent to the first byte of the answer, in milliseconds. */
  readonly firstByteMs: number;
}

/**
 * Sends a request and reads its answer to the end.
 *
 * @throws {Error} where the connection ends before the answer does
 */
export async function exchange(request: HttpExchange): Promise<HttpAnswer> {
  const { port, path, body, onBytes, signal } = request;
  const started = performance.now();
  using conn = await Deno.connect({ hostname: "127.0.0.1", port });
  const hangUp = () => {
    try {
      conn.close();
    } catch { /* closed already */ }
  };
  signal?.addEventListener("abort", hangUp, { once: true });
  try {
    conn.setNoDelay(true);
    const head = [
      `${body ? "PUT" : "GET"} ${path} HTTP/1.1`,
      `Host: 127.0.0.1:${port}`,
      "Connection: close",
      ...(body ? [`Content-Length: ${body.length}`] : []),
    ];
    await writeAll(conn, encodeUtf8(`${head.join("\r\n")}\r\n\r\n`));
    for (const chunk of body?.chunks ?? []) {
      await writeAll(conn, chunk);
      onBytes?.(chunk);
    }
    return await readAnswer(conn, started, body ? undefined : onBytes);
  } finally {
    signal?.removeEventListener("abort", hangUp);
  }
}

async function readAnswer(
  conn: Deno.Conn,
  started: number,
  onBytes: HttpExchange["onBytes"],
): Promise<HttpAnswer> {
  const buffer = new Uint8Array(READ_SIZE);
  let head = "";
  let firstByteMs: number | undefined;
  let rest: Uint8Array = new Uint8Array();
  let end = -1;
  while (end < 0) {
    const count = await conn.read(buffer);
    if (count === null) throw new Error("the connection was closed before an answer came");
    firstByteMs ??= performance.now() - started;
    // Latin-1, so that an index in the text is an index in the bytes.
    const before = head.length;
    head += new TextDecoder("latin1").decode(buffer.subarray(0, count));
    end = head.indexOf("\r\n\r\n");
    if (end < 0 && head.length > MAX_HEAD) throw new Error("what came was no HTTP answer");
    if (end >= 0) rest = buffer.slice(Math.max(0, end + 4 - before), count);
  }
  head = head.slice(0, end);
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1] ?? NaN);
  const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? Infinity);
  let body = "";
  let left = length;
  const take = (bytes: Uint8Array) => {
    left -= bytes.length;
    if (onBytes) onBytes(bytes);
    else body += decodeUtf8(bytes);
  };
  take(rest);
  while (left > 0) {
    const count = await conn.read(buffer);
    if (count === null) break;
    take(buffer.subarray(0, count));
  }
  if (left > 0 && left !== Infinity) {
    throw new Error(`the connection was closed ${left} bytes before the answer's end`);
  }
  return { status, body, firstByteMs: firstByteMs! };
}

async function writeAll(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) done += await conn.write(bytes.subarray(done));
}
