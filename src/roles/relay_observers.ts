/**
 * The relay's answers to "where do you see me": on its main port, and on a second one, so that a client can tell how its NAT
 * maps and filters.
 * @module
 */
import { type Address, type Logger, messageOf, toBase64Url, toHex } from "../core/mod.ts";
import { answerObserve, ObserveKeyRing } from "../qad/mod.ts";
import { Demultiplexer, openUdpSocket, type TrainHandler, type UdpSocket } from "../sockets/mod.ts";
import { hmac, randomBytes } from "./primitives.ts";

/** The relay's observers. */
export interface Observers {
  /** Takes questions that came to the main port. */
  readonly onMain: TrainHandler;
  /** Ports other than the main one; none where no second one could be had. */
  readonly otherPorts: number[];
  /** Questions that got no answer. */
  readonly dropped: number;
  /** A client's key, as welcome carries it: the same one for as long as the relay runs, so that a return may ask with it early. */
  issueKey(party: string): { id: string; key: string };
  close(): void;
}

/** Opens the second port (the one after the main one, or any) and answers on both. */
export function openObservers(
  options: {
    socket: UdpSocket;
    host: string;
    log: Logger;
    /** The client with this key's id has asked at the main port, with its socket for direct paths, from there. */
    direct: (keyId: string, from: Address) => void;
  },
): Observers {
  const { socket: main, log } = options;
  const keys = new ObserveKeyRing({ mac: hmac });
  // One secret for as long as the relay runs: a client gets its key with the welcome, and may stay for months.
  keys.rotate(randomBytes(32));
  const idSecret = randomBytes(32);
  const second = openSecond(options.host, main.local.port, log);
  let dropped = 0;
  const answer =
    (asked: UdpSocket, other: UdpSocket | undefined): TrainHandler =>
    (data, segmentSize, from: Address) => {
      for (let at = 0; at < data.length; at += segmentSize) {
        const result = answerObserve(data.subarray(at, at + segmentSize), from, {
          keys,
          mac: hmac,
        });
        if (result.type === "drop") dropped++;
        else {
          const socket = result.fromOtherPort ? other : asked;
          socket?.send(from, result.datagram, result.datagram.length);
          if (result.directOf && asked === main) options.direct(toHex(result.directOf), from);
        }
      }
    };
  second?.receive(new Demultiplexer({ observe: answer(second, main) }));
  return {
    onMain: answer(main, second),
    otherPorts: second ? [second.local.port] : [],
    get dropped() {
      return dropped;
    },
    issueKey(party) {
      const name = hmac(idSecret, new TextEncoder().encode(party));
      const { id, key } = keys.issue((length) => name.slice(0, length));
      return { id: toHex(id), key: toBase64Url(key) };
    },
    close() {
      second?.close();
    },
  };
}

function openSecond(host: string, mainPort: number, log: Logger): UdpSocket | undefined {
  for (const port of mainPort < 65_535 ? [mainPort + 1, 0] : [0]) {
    try {
      return openUdpSocket({ host, port });
    } catch (error) {
      log.debug("cannot listen on a second port", { port, reason: messageOf(error) });
    }
  }
  log.warn("no second UDP port: clients cannot tell how their NATs map");
  return undefined;
}
