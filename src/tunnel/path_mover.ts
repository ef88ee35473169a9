/**
 * Moves an agent's tunnel between paths, one move at a time: QUIC's own validation first where there is time for it, at once
 * where the path in use is dead.
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

/** Between challenges on a path that does not answer, in milliseconds. */
const CHALLENGE_INTERVAL = 60;

/** Longest that QUIC's validation may take, in milliseconds. Our own probes have proven the path already, so it is short. */
const VALIDATION_TIMEOUT = 1_500;

/** How a move went. */
export interface MoverEvents {
  moved(ends: PathEnds): void;
  failed(ends: PathEnds): void;
}

/** See the module's head. */
export class PathMover {
  readonly #connection: QuicConnection;
  readonly #events: MoverEvents;
  #target: PathEnds | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(connection: QuicConnection, events: MoverEvents) {
    this.#connection = connection;
    this.#events = events;
  }

  /** Moves there; a move under way is forgotten. */
  move(ends: PathEnds): void {
    this.#stop();
    // The relayed path is where the tunnel began and where it flees to: no time to ask.
    if (isRelayed(ends.peer) || isPathValidated(this.#connection, ends.local, ends.peer)) {
      this.#finish(ends);
      return;
    }
    if (!probePath(this.#connection, ends.local, ends.peer)) {
      this.#events.failed(ends);
      return;
    }
    this.#target = ends;
    const until = performance.now() + VALIDATION_TIMEOUT;
    this.#timer = setInterval(() => {
      if (this.#connection.closed) this.#stop();
      else if (isPathValidated(this.#connection, ends.local, ends.peer)) this.#finish(ends);
      else if (performance.now() >= until) {
        this.#stop();
        this.#events.failed(ends);
      } else probePath(this.#connection, ends.local, ends.peer);
    }, CHALLENGE_INTERVAL);
  }

  /** Something happened to a path. */
  pathEvent(event: NativePathEvent): void {
    const target = this.#target;
    if (!target || event.type === "PeerMigrated" || event.type === "ReusedSourceConnectionId") {
      return;
    }
    const same = event.peer.host === target.peer.host && event.peer.port === target.peer.port &&
      event.local.host === target.local.host && event.local.port === target.local.port;
    if (!same) return;
    if (event.type === "Validated") this.#finish(target);
  }

  /** No more moves. */
  stop(): void {
    this.#stop();
  }

  #finish(ends: PathEnds): void {
    this.#stop();
    if (migrate(this.#connection, ends.local, ends.peer)) this.#events.moved(ends);
    else this.#events.failed(ends);
  }

  #stop(): void {
    clearInterval(this.#timer);
    this.#target = undefined;
  }
}
