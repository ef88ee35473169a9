/**
 * Moves an agent's tunnel between paths.
 *
 * A direct path comes here proven in both directions with full-size packets by our own probes, whose key nobody else has, so
 * the tunnel moves at once, and QUIC's own validation (RFC 9000 §8.2) runs beside the first packets: a round trip sooner.
 * A path that carries probes but not QUIC is left again by the path machines, within a second.
 * @module
 */
import type { Address } from "../core/mod.ts";
import {
  flushPath,
  isPathValidated,
  migrate,
  probePath,
  type QuicConnection,
} from "../quic/mod.ts";
import { isRelayed } from "./sealed.ts";

/** Two ends of a path, as QUIC names them. */
export interface PathEnds {
  readonly local: Address;
  readonly peer: Address;
}

/** Moves the connection there; answers whether the engine could (it cannot without a spare connection id). */
export function moveTo(connection: QuicConnection, { local, peer }: PathEnds): boolean {
  const known = isPathValidated(connection, local, peer);
  if (!known && !probePath(connection, local, peer)) return false;
  // The agent's last handshake packet may not have left yet, and the engine would never send it on another path.
  if (isRelayed(connection.peer)) flushPath(connection, connection.local, connection.peer);
  return migrate(connection, local, peer);
}
