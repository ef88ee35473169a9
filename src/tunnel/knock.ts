/**
 * Opens our own NAT or firewall towards the other end, before there is a key to make probes with.
 * @module
 */
import { type Bytes, fromHex, toHex } from "../core/mod.ts";
import { PROBE_TXID_BYTES, ProbeCodec } from "../path/mod.ts";
import type { Mac, RandomBytes } from "../qad/mod.ts";

/** Bytes of the key that makes the macs of a tunnel's probes. */
export const PROBE_KEY_BYTES = 32;

/** A datagram that looks like a probe of this tunnel, and that nobody can open: what counts is that it leaves. */
export function makeKnock(
  tunnelId: string,
  { mac, random }: { mac: Mac; random: RandomBytes },
): Bytes {
  const codec = new ProbeCodec({
    role: "connector",
    tunnelId: fromHex(tunnelId)!,
    key: random(PROBE_KEY_BYTES),
    mac,
  });
  return codec.probe(toHex(random(PROBE_TXID_BYTES)), { size: 0 });
}
