/**
 * Paths that a server's engine has given up, and clients that come back on them all the same.
 *
 * The engine gives a path up, for good, when a loss timer of it fires while a challenge of ours is unanswered. When the client then sends
 * from there again (the network is back, and the client never had a doubt), the engine takes that for a fault of its own and ends the
 * connection. So the two part ways: the engine gets a new name for our end of the path as it really is, and the next packet from
 * there comes on a path that is new to it, to be validated like any other; and we get a new name for the path that it has given up,
 * whose packets are still to be found lost (see `left_paths.ts`).
 *
 * ```
 *            ours     the engine's                        ours     the engine's
 *            real  =  real          -- real fails -->     real  =  100::1:1
 *                                                     100::2:1  =  real
 * ```
 *
 * The engine's own methods are replaced on that one connection, and only once a path of it has failed.
 * @module
 */
import { addressOf } from "../core/mod.ts";
import type { HostPort, NativeConnection, NativePathEvent } from "./engine.ts";
import { keyOfPath, type PathOfConnection } from "./left_paths.ts";

/** The engine's methods that name paths, but for `migrate`: that is a client's. */
type Replaced =
  | "recv"
  | "send"
  | "sendOnPath"
  | "probePath"
  | "isPathValidated"
  | "pathStats"
  | "pathEventNext";

/** Made-up ends are in the prefix of what is to be thrown away (RFC 6666): no packet comes from there. */
const ENGINES_NAME = "100::1:";
const OUR_NAME = "100::2:";

/** A path by either's name of our end. */
function pathKey(local: HostPort, peer: HostPort): string {
  return `${local.host} ${local.port} ${peer.host} ${peer.port}`;
}

/** See the module's head. */
export class FailedPaths {
  readonly #native: NativeConnection;
  /** The engine's name of our end of a path, by ours; and the other way round. As many as the engine has paths, at most. */
  readonly #engines = new Map<string, HostPort>();
  readonly #ours = new Map<string, HostPort>();
  #count = 0;

  constructor(native: NativeConnection) {
    this.#native = native;
  }

  /** The engine has given up this path. Answers its name from now on, and the one `from` before, which is free for a new one. */
  add(
    { local, peer }: { local: HostPort; peer: HostPort },
  ): PathOfConnection & { readonly from: string } {
    if (this.#count === 0) this.#replaceMethods();
    const number = (++this.#count).toString(16);
    const ours = addressOf(OUR_NAME + number, local.port);
    this.#name(ours, this.#toEngine(local, peer), peer);
    this.#name(local, addressOf(ENGINES_NAME + number, local.port), peer);
    const ends = {
      local: addressOf(local.host, local.port),
      peer: addressOf(peer.host, peer.port),
    };
    return { from: keyOfPath(ends), local: ours, peer: ends.peer };
  }

  #name(ours: HostPort, engines: HostPort, peer: HostPort): void {
    this.#engines.set(pathKey(ours, peer), engines);
    this.#ours.set(pathKey(engines, peer), ours);
  }

  #toEngine(local: HostPort, peer: HostPort): HostPort {
    return this.#engines.get(pathKey(local, peer)) ?? local;
  }

  #toOurs(local: HostPort, peer: HostPort): HostPort {
    return this.#ours.get(pathKey(local, peer)) ?? local;
  }

  #replaceMethods(): void {
    const native = this.#native;
    const own: Pick<NativeConnection, Replaced> = {
      recv: native.recv,
      send: native.send,
      sendOnPath: native.sendOnPath,
      probePath: native.probePath,
      isPathValidated: native.isPathValidated,
      pathStats: native.pathStats,
      pathEventNext: native.pathEventNext,
    };
    type Sent = ReturnType<NativeConnection["send"]>;
    const sent = (result: Sent): Sent => {
      if (result) result[1] = { ...result[1], from: this.#toOurs(result[1].from, result[1].to) };
      return result;
    };
    const replaced: Pick<NativeConnection, Replaced> = {
      recv: (data, { from, to }) =>
        own.recv.call(native, data, { from, to: this.#toEngine(to, from) }),
      send: (data) => sent(own.send.call(native, data)),
      sendOnPath: (data, from, to) =>
        sent(own.sendOnPath.call(native, data, from && to ? this.#toEngine(from, to) : from, to)),
      probePath: (local, peer) => own.probePath.call(native, this.#toEngine(local, peer), peer),
      isPathValidated: (local, peer) =>
        own.isPathValidated.call(native, this.#toEngine(local, peer), peer),
      pathStats: () =>
        own.pathStats.call(native).map((path) => ({
          ...path,
          localHost: this.#toOurs(path.localHost, path.peerHost),
        })),
      pathEventNext: () => this.#toOurEvent(own.pathEventNext.call(native)),
    };
    Object.assign(native, replaced);
  }

  #toOurEvent<Event extends NativePathEvent>(event: Event): Event {
    // "No event" is null, whatever the engine's types say.
    if (event === null) return event;
    // A migration's two addresses are the new path's ends, ours first.
    if (event.type === "PeerMigrated") {
      return { ...event, old: this.#toOurs(event.old, event.new) };
    }
    if (!("local" in event)) return event;
    return { ...event, local: this.#toOurs(event.local, event.peer) };
  }
}
