/**
 * Tells senders whose connection or tunnel this relay does not know that this is so: they had it from a relay that crashed.
 * @module
 */
import { encodeStranger } from "../control/mod.ts";
import type { Address, Clock } from "../core/mod.ts";
import { RateLimit } from "../core/rate_limit.ts";
import type { UdpSocket } from "../sockets/mod.ts";

/** For a client, by address and port: one answer is enough, and one may be lost. */
const OF_CLIENT = { burst: 2, perSecond: 1, maxEntries: 4096 };

/** Behind one address there may be a company of them, who all lose one relay at once. An answer costs some 10 µs. */
const OF_NETWORK = { burst: 1_024, perSecond: 256, maxEntries: 4096 };

/** Answers packets that belong to nothing. */
export function strangerAnswers(
  socket: UdpSocket,
  clock: Clock,
): (packet: Uint8Array, from: Address) => void {
  const ofClient = new RateLimit(OF_CLIENT);
  const ofNetwork = new RateLimit(OF_NETWORK);
  return (packet, from) => {
    const answer = encodeStranger(packet);
    const now = clock.now();
    if (!answer || !ofClient.take(from.key, now) || !ofNetwork.take(from.host, now)) return;
    socket.send(from, answer, answer.length);
  };
}
