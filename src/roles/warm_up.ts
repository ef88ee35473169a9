/**
 * Reads a message like the one that the relay is about to answer with, while there is nothing else to do: the first time takes a
 * millisecond, later ones a tenth of that, and a return has few to lose.
 * @module
 */
import {
  encodeMessage,
  FrameReader,
  parseRelayMessage,
  type RelayMessageOf,
} from "../control/mod.ts";

const LIKE_A_WELCOME: RelayMessageOf<"welcome"> = {
  type: "welcome",
  version: 1,
  relay: "relay",
  networkId: "0".repeat(16),
  now: 0,
  observeKey: { id: "0".repeat(16), key: "A".repeat(22) },
  observePorts: [1],
  services: ["web"],
  maxEarlyAgeMs: 0,
  early: "accepted",
} as RelayMessageOf<"welcome">;

/** See the module's head. Answers whether it could be read. */
export function warmUp(): boolean {
  const { frames } = new FrameReader().read(encodeMessage(LIKE_A_WELCOME));
  return frames.length === 1 && "ok" in parseRelayMessage(frames[0]);
}
