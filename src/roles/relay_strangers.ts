/**
 * Tells senders whose connection or tunnel this relay does not know that this is so: they had it from a relay that crashed.
 * @module
 */
import { encodeStranger } from "../control/mod.ts";
import type { Address, Clock } from "../core/mod.ts";
import { RateLimit } from "../core/rate_limit.ts";
import type { UdpSocket } from "../sockets/mod.ts";

/** One answer is enough for a client; behind one address there may be an office of them. */
const RATE = { burst: 50, perSecond: 20, maxEntries: 4096 };

/** Answers packets that belong to nothing. */
export function strangerAnswers(
  socket: UdpSocket,
  clock: Clock,
): (packet: Uint8Array, from: Address) => void {
  const rate = new RateLimit(RATE);
  return (packet, from) => {
    const answer = encodeStranger(packet);
    if (answer && rate.take(from.host, clock.now())) socket.send(from, answer, answer.length);
  };
}
