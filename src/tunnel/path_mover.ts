/**
 * Moves a tunnel between paths.
 *
 * A direct path comes here proven in both directions with full-size packets by our own probes. QUIC validates it once more
 * (RFC 9000 §8.2), while everything else still travels on the old path: until both ends have validated a path, the engine
 * fills every packet on it up to its full size, and a dozen of them use up the path's congestion window, the validation's own
 * answers included. So the agent moves when QUIC says that the path is good, and with the first packet both ends are there.
 * Nothing of the handshake is left behind either: only a connector that is through with it answers a challenge.
 *
 * A lost challenge would cost QUIC a second, as it knows no round trip of a new path. So it is asked again and again, at both ends.
 * @module
 */
import type { Address } from "../core/mod.ts";
import {
  isPathValidated,
  migrate,
  type NativePathEvent,
  probePath,
  type QuicConnection,
} from "../quic/mod.ts";
import { isRelayed } from "./sealed.ts";

/** Two ends of a path, as QUIC names them. */
export interface PathEnds {
  readonly local: Address;
  readonly peer: Address;
}

/**
 * A new path needs a spare connection id of the other end's, which comes with the end of the handshake, maybe a moment after the
 * path was proven. It is tried again then; and this often, in milliseconds, should anything else have been in the way.
 */
const START_RETRY = 10;
/** Between challenges, in milliseconds: more than most round trips, and then more and more. */
const FIRST_RETRY = 60;
const RETRY_GROWTH = 1.5;
/** A path that QUIC has not validated within this time carries our probes but not QUIC, in milliseconds. */
const PATIENCE = 1_500;

/** A challenge sent when the wish to move was not there yet. */
interface Asked {
  readonly ends: PathEnds;
  readonly at: number;
}

/** What a mover needs. */
export interface PathMoverOptions {
  readonly connection: QuicConnection;
  /** The tunnel has moved there. */
  readonly moved: (ends: PathEnds) => void;
  /** The tunnel cannot move there, and has stayed where it was. */
  readonly failed: (ends: PathEnds) => void;
}

/** The agent's: moves the tunnel to one path after the other, the newest wish wins. */
export class PathMover {
  readonly #options: PathMoverOptions;
  #wish:
    | { readonly ends: PathEnds; readonly until: number; wait: number; asked: boolean }
    | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #asked: Asked | undefined;

  constructor(options: PathMoverOptions) {
    this.#options = options;
  }

  /** Moves the tunnel there, at once where QUIC knows the path, else when QUIC has validated it. */
  moveTo(ends: PathEnds): void {
    const now = performance.now();
    this.#wish = { ends, until: now + PATIENCE, wait: FIRST_RETRY, asked: false };
    const asked = this.#asked;
    this.#asked = undefined;
    const { local, peer } = ends;
    const rest = asked && isSame(asked.ends, ends) ? asked.at + FIRST_RETRY - now : 0;
    if (rest <= 0 || isPathValidated(this.#options.connection, local, peer)) return this.#try();
    // The answer is on its way.
    this.#wish.asked = true;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#try(), rest);
  }

  /** The tunnel will likely move there: lets QUIC ask already. Once is enough, and nothing follows from it. */
  expect(ends: PathEnds): void {
    if (this.#wish || this.#asked) return;
    if (!probePath(this.#options.connection, ends.local, ends.peer)) return;
    this.#asked = { ends, at: performance.now() };
  }

  /** What a new path needs may be there now. */
  idsGiven(): void {
    if (this.#wish?.asked === false) this.#try();
  }

  /** QUIC tells of a path. */
  pathEvent(event: NativePathEvent): void {
    if (event.type === "Validated") this.#try();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#wish = undefined;
  }

  #try(): void {
    const wish = this.#wish;
    if (!wish) return;
    clearTimeout(this.#timer);
    const { connection, moved, failed } = this.#options;
    const { ends } = wish;
    const known = isRelayed(ends.peer) || isPathValidated(connection, ends.local, ends.peer);
    if (known && migrate(connection, ends.local, ends.peer)) {
      this.#wish = undefined;
      return moved(ends);
    }
    if (connection.closed) return this.stop();
    if (performance.now() >= wish.until) {
      this.#wish = undefined;
      return failed(ends);
    }
    let wait = START_RETRY;
    if (!known && probePath(connection, ends.local, ends.peer)) {
      wait = wish.wait;
      wish.wait *= RETRY_GROWTH;
      wish.asked = true;
    }
    this.#timer = setTimeout(() => this.#try(), wait);
  }
}

function isSame(a: PathEnds, b: PathEnds): boolean {
  return a.local.key === b.local.key && a.peer.key === b.peer.key;
}

/** The connector's: it follows the agent, and helps QUIC to validate the paths that the agent comes on. */
export class PathFollower {
  readonly #connection: QuicConnection;
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();

  constructor(connection: QuicConnection) {
    this.#connection = connection;
  }

  /** The agent's first packet came on this path; QUIC has asked whether it is reachable there. */
  follow(ends: PathEnds): void {
    this.#askAgain(ends, FIRST_RETRY, performance.now() + PATIENCE);
  }

  stop(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  #askAgain(ends: PathEnds, wait: number, until: number): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      const { local, peer } = ends;
      if (performance.now() >= until || isPathValidated(this.#connection, local, peer)) return;
      if (!probePath(this.#connection, local, peer)) return;
      this.#askAgain(ends, wait * RETRY_GROWTH, until);
    }, wait);
    this.#timers.add(timer);
  }
}
