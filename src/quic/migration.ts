/**
 * Moving a client's connection to another path (RFC 9000 §9). Only a client can; a server follows.
 * @module
 */
import { type Address, addressOf } from "../core/mod.ts";
import { MAX_PACKET, MIN_PACKET } from "./config.ts";
import type { QuicConnection } from "./connection.ts";

/**
 * Asks the peer over another path whether it is reachable there (RFC 9000 §8.2); the answer comes as a path event
 * `Validated`. Answers false where the engine cannot: no spare connection id, or the handshake is not over.
 */
export function probePath(connection: QuicConnection, local: Address, peer: Address): boolean {
  if (connection.closed) return false;
  const known = isKnownPath(connection, local, peer);
  try {
    connection.native.probePath(local, peer);
  } catch {
    return false;
  }
  if (!known) connection.pathAdded();
  connection.asked(local, peer);
  flushPath(connection, local, peer);
  // What may not go there is in the way of what may (see the packet sender): it goes on the path in use.
  connection.touched();
  return true;
}

function isKnownPath(connection: QuicConnection, local: Address, peer: Address): boolean {
  try {
    connection.native.isPathValidated(local, peer);
    return true;
  } catch {
    return false;
  }
}

/** Has the peer answered on that path? */
export function isPathValidated(
  connection: QuicConnection,
  local: Address,
  peer: Address,
): boolean {
  try {
    return !connection.closed && connection.native.isPathValidated(local, peer);
  } catch {
    return false;
  }
}

/**
 * From now on the connection sends along this path; what was in flight on the old one is sent again where it is lost.
 * Answers false where the engine cannot.
 */
export function migrate(connection: QuicConnection, local: Address, peer: Address): boolean {
  if (connection.closed) return false;
  try {
    connection.native.migrate(local, peer);
    // An ack-eliciting packet makes the peer follow at once, and finds out soon what the old path has lost. It fails where the engine
    // has given that path up: then another has to be gone to.
    connection.native.sendAckEliciting();
  } catch {
    return false;
  }
  connection.setPath(local, peer);
  connection.touched();
  return true;
}

/** A DATAGRAM that means nothing: 500 bytes on the wire, a little more than a third of the largest packet. */
const ANNOUNCEMENT = new Uint8Array(465);

/**
 * Client: sends a packet that has to be acknowledged, wherever from. Where our NAT has given us another address, the server asks whether
 * we are there, and may answer with three times as many bytes as came (RFC 9000 §8.1): so it is large enough for a challenge of full
 * size, as a smaller one has to be followed by a second.
 */
export function announce(connection: QuicConnection): void {
  if (connection.closed) return;
  connection.native.sendAckEliciting();
  connection.sendDatagram(ANNOUNCEMENT);
  connection.touched();
}

/**
 * Server: as many bytes as a full-size packet has have come on that path, and are surely the client's though not of QUIC. They count as
 * well for what may be sent there before the client has shown that it is there (RFC 9000 §8.1): a challenge of full size may.
 */
export function creditPath(connection: QuicConnection, local: Address, peer: Address): void {
  if (connection.closed || connection.isClient) return;
  // The engine counts what it cannot decrypt.
  const nothing = new Uint8Array(MIN_PACKET);
  nothing[0] = 0x40;
  try {
    connection.native.recv(nothing, { from: peer, to: local });
  } catch {
    // That it says so is no matter.
  }
}

/**
 * A packet of at most `size` bytes that the engine takes for sent on the path in use, and that has to be acknowledged; whoever takes
 * it sends it another way. `undefined` where there is none just now, as when the congestion window is full.
 */
export function takeDetour(connection: QuicConnection, size: number): Uint8Array | undefined {
  if (connection.closed) return undefined;
  const { native, local, peer } = connection;
  const buffer = new Uint8Array(size);
  try {
    // No challenge: one that is not answered in time makes the engine give up the path in use, and the connection with it.
    native.sendAckEliciting();
    const result = native.sendOnPath(buffer, local, peer);
    connection.touched();
    return result === null ? undefined : buffer.subarray(0, result[0]);
  } catch {
    return undefined;
  }
}

/** Sends what the engine has for a path that is not the one in use: challenges, and answers to them. */
function flushPath(connection: QuicConnection, local: Address, peer: Address): void {
  const { native, egress } = connection;
  for (let i = 0; i < 4; i++) {
    const prefix = egress.prefix(peer);
    const buffer = new Uint8Array(prefix.length + Math.min(MAX_PACKET, egress.packetSize(peer)));
    let result: ReturnType<typeof native.sendOnPath>;
    try {
      result = native.sendOnPath(buffer.subarray(prefix.length), local, peer);
    } catch {
      return;
    }
    if (result === null) return;
    const [length, { from, to }] = result;
    buffer.set(prefix);
    const datagram = buffer.subarray(0, prefix.length + length);
    egress.transmit(
      addressOf(from.host, from.port),
      addressOf(to.host, to.port),
      datagram,
      datagram.length,
    );
  }
}
