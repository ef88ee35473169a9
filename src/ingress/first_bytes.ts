/**
 * A connection whose first bytes were read already: a proxy's client may send more behind its request.
 * @module
 */
import type { Bytes } from "../core/mod.ts";
import type { ByteConn } from "../mux/mod.ts";

/**
 * The same connection, except that reading gives `first` before anything else. Where `first` is empty it is the
 * connection itself.
 */
export function withFirstBytes(conn: Deno.TcpConn, first: Bytes): ByteConn {
  if (first.length === 0) return conn;
  let left = first;
  const wrapped: ByteConn & Pick<Deno.TcpConn, "localAddr" | "remoteAddr"> = {
    // Both addresses stay visible: they are how a reset finds the connection.
    localAddr: conn.localAddr,
    remoteAddr: conn.remoteAddr,
    read(into) {
      if (left.length === 0) return conn.read(into);
      const count = Math.min(into.length, left.length);
      into.set(left.subarray(0, count));
      left = left.subarray(count);
      return Promise.resolve(count);
    },
    write: (data) => conn.write(data),
    closeWrite: () => conn.closeWrite(),
    close: () => conn.close(),
  };
  return wrapped;
}
