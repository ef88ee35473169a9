/**
 * What an end tells the other one about where it may be reached.
 * @module
 */
import { toBase64Url } from "../core/mod.ts";
import { encodeOffer } from "../path/mod.ts";
import type { OwnPaths } from "./direct_part.ts";
import type { TunnelMessage } from "./tunnel_message.ts";

/**
 * The message for it.
 *
 * @param how.disabled this end wants no direct path
 * @param how.key of the probes; the agent's offers carry it
 */
export function offerOf(
  own: OwnPaths,
  how: { disabled: boolean; generation: number; key: Uint8Array | undefined },
): TunnelMessage {
  const { disabled, generation, key } = how;
  const offer = encodeOffer({
    generation,
    candidates: disabled ? [] : own.candidates(),
    mapping: disabled ? {} : own.facts().mapping,
  });
  return {
    type: "offer",
    offer,
    ...(disabled ? { disabled: true } : {}),
    ...(key ? { key: toBase64Url(key) } : {}),
  };
}
