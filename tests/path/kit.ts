/**
 * Two ends of a tunnel for tests of single machines.
 * @module
 */
import { addressOf } from "../../src/core/address.ts";
import type { Machine } from "../../src/core/machine.ts";
import { type PathRole, type Probe, ProbeCodec, type ProbeReply } from "../../src/path/mod.ts";
import { quickMac } from "../sim/quick_mac.ts";
import { SeededRandom } from "../sim/random.ts";

/** Where the other end is. */
export const PEER = addressOf("198.51.100.22", 51_001);
/** Another address. */
export const STRANGER = addressOf("203.0.113.66", 666);
/** Us, as the other end sees us. */
export const ME = addressOf("198.51.100.21", 51_001);

/** Codecs of both ends, with one key. */
export function codecs(role: PathRole = "agent"): { ours: ProbeCodec; theirs: ProbeCodec } {
  const shared = { tunnelId: new Uint8Array(8), key: new Uint8Array(16).fill(3), mac: quickMac };
  const other = role === "agent" ? "connector" : "agent";
  return {
    ours: new ProbeCodec({ role, ...shared }),
    theirs: new ProbeCodec({ role: other, ...shared }),
  };
}

/** Seeded bytes. */
export function randomBytes(seed = 1): (length: number) => Uint8Array {
  return new SeededRandom(seed).bytes;
}

/** Gives an input and takes all outputs. */
export function tell<In, Out>(machine: Machine<In, Out>, input: In, now: number): Out[] {
  machine.handle(input, now);
  const out: Out[] = [];
  for (let next; (next = machine.poll()) !== undefined;) out.push(next);
  return out;
}

interface Send {
  readonly type: string;
  readonly datagram?: Uint8Array;
}

/** The probes among outputs, as the other end opens them. */
export function probesIn(outputs: readonly Send[], theirs: ProbeCodec): Probe[] {
  return outputs.flatMap(({ datagram }) => {
    const opened = datagram && theirs.open(datagram);
    return opened?.type === "probe" ? [opened] : [];
  });
}

/** The other end's answer to a probe. */
export function replyTo(probe: Probe): ProbeReply {
  return { type: "reply", txid: probe.txid, seen: ME };
}

let lastTxid = 0;

/** A probe of the other end, not seen before. */
export function freshProbe(size: number, options: { probeBack?: boolean } = {}): Probe {
  const txid = (++lastTxid).toString(16).padStart(16, "0");
  return { type: "probe", txid, size, probeBack: options.probeBack ?? false };
}
