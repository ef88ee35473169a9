/**
 * Moves a tunnel between paths.
 *
 * A direct path comes here proven in both directions with full-size packets by our own probes. QUIC validates it once more
 * (RFC 9000 §8.2), while everything else still travels on the old path: until both ends have validated a path, the engine
 * fills every packet on it up to its full size, and a dozen of them use up the path's congestion window, the validation's own
 * answers included. So the agent moves when QUIC says that the path is good, and with the first packet both ends are there.
 * Nothing of the handshake is left behind either: only a connector that is through with it answers a challenge.
 *
 * A path that was left as dead is asked anew, though the engine takes it for good: where a NAT of ours was the reason it is another one
 * to the other end, which would have to validate it with the few bytes that acknowledgements allow (RFC 9000 §8.1), and send nothing
 * else meanwhile.
 *
 * A lost challenge would cost QUIC a second, as it knows no round trip of a new path. So it is asked again and again, at both ends.
 * @module
 */
import {
  creditPath,
  isPathValidated,
  keyOfPath,
  migrate,
  type NativePathEvent,
  type PathOfConnection,
  probePath,
  type QuicConnection,
} from "../quic/mod.ts";
import { isRelayed } from "./sealed.ts";

/** Two ends of a path, as QUIC names them. */
export type PathEnds = PathOfConnection;

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

/** Paths that are remembered as dead; the oldest is forgotten. */
const MAX_DIED = 16;

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
    | {
      readonly ends: PathEnds;
      readonly until: number;
      wait: number;
      asked: boolean;
      /** QUIC of the other end is there: not so before the first packet where it had died. */
      heard: boolean;
    }
    | undefined;
  /** Paths that were left as dead. */
  readonly #died = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #asked: Asked | undefined;

  constructor(options: PathMoverOptions) {
    this.#options = options;
  }

  /** Moves the tunnel there, at once where QUIC knows the path, else when QUIC has validated it. */
  moveTo(ends: PathEnds): void {
    const now = performance.now();
    const { connection } = this.#options;
    const { local, peer } = ends;
    const heard = !this.#died.has(keyOfPath(ends));
    if (!heard) connection.listenFor(peer);
    this.#wish = { ends, until: now + PATIENCE, wait: FIRST_RETRY, asked: false, heard };
    const asked = this.#asked;
    this.#asked = undefined;
    const rest = asked && isSame(asked.ends, ends) ? asked.at + FIRST_RETRY - now : 0;
    if (rest <= 0 || isPathValidated(connection, local, peer)) return this.#try();
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

  /** The tunnel leaves that path as dead. */
  died(ends: PathEnds): void {
    this.#died.delete(keyOfPath(ends));
    this.#died.add(keyOfPath(ends));
    for (const oldest of this.#died) {
      if (this.#died.size <= MAX_DIED) break;
      this.#died.delete(oldest);
    }
  }

  /** What a new path needs may be there now. */
  idsGiven(): void {
    if (this.#wish?.asked === false) this.#try();
  }

  /** The first packet has come on a path that had died. */
  heard(): void {
    if (!this.#wish) return;
    this.#wish.heard = true;
    this.#try();
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
    const { ends, heard } = wish;
    const known = isRelayed(ends.peer) ||
      isPathValidated(connection, ends.local, ends.peer) && heard;
    if (known && migrate(connection, ends.local, ends.peer)) {
      this.#wish = undefined;
      this.#died.delete(keyOfPath(ends));
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
  return keyOfPath(a) === keyOfPath(b);
}

/** The connector's: it follows the agent, and helps QUIC to validate the paths that the agent comes on. */
export class PathFollower {
  readonly #connection: QuicConnection;
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();

  constructor(connection: QuicConnection) {
    this.#connection = connection;
  }

  /**
   * The agent's first packet came on this path; QUIC asks whether it is reachable there. `proven`: our own probes have shown so, and
   * their bytes let it ask properly.
   */
  follow(ends: PathEnds, proven: boolean): void {
    if (proven) creditPath(this.#connection, ends.local, ends.peer);
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
