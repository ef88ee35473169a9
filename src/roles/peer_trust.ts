/**
 * Who is at the other end of a tunnel: what its certificate says, what the relay says, and what this machine knows.
 * @module
 */
import type { Logger, UnixMillis } from "../core/mod.ts";
import {
  type KnownKeys,
  MAX_PINS,
  parsePeerCertificate,
  type PeerIdentity,
} from "../identity/mod.ts";

/** Whom the relay has announced, with the key that it says they have. */
export interface ExpectedPeer {
  readonly kind: "connector" | "agent";
  readonly name: string;
  readonly pin: string;
}

/** What this machine knows. */
export interface TrustContext {
  readonly networkId: string;
  readonly knownKeys: KnownKeys;
  readonly now: UnixMillis;
  readonly log: Logger;
}

/**
 * Why the other end must not be trusted; `undefined`: it is who it should be. At first contact its key is remembered.
 *
 * @param certificates in DER, its own first; TLS has checked them against the CA
 */
export function distrust(
  certificates: readonly Uint8Array[],
  expected: ExpectedPeer,
  { networkId, knownKeys, now, log }: TrustContext,
): string | undefined {
  const peer = certificates[0] && parsePeerCertificate(certificates[0]);
  const who = `${expected.kind} "${expected.name}"`;
  if (!peer) return `Cannot trust ${who} as it shows no certificate of ours`;
  const other = whoElse(peer, expected, networkId);
  if (other) return `Cannot trust ${who} as ${other}`;
  const pinned = { kind: expected.kind, name: peer.name, pin: peer.pin };
  const verdict = knownKeys.check(pinned);
  // What the relay says of the key counts for nothing where we know better.
  const spoken = knownKeys.check({ ...pinned, pin: expected.pin });
  if (verdict === "changed" || spoken === "changed") {
    const error = knownKeys.changedKeyError(pinned);
    log.error(error.message, { next: error.next });
    return error.message;
  }
  if (peer.pin !== expected.pin) {
    return `Cannot trust ${who} as its key is not the one that the relay knows`;
  }
  // Resumption does not look at the certificate's dates again, so we do.
  if (now > peer.notAfter) return `Cannot trust ${who} as its certificate has expired`;
  if (verdict === "new") {
    if (!knownKeys.remember(pinned, now)) {
      return `Cannot trust ${who} as ${MAX_PINS} keys are known here, which is the most`;
    }
    log.info("first contact: its key is remembered", { peer: who, key: peer.pin });
  }
  return undefined;
}

/** Whose certificate it is instead; `undefined`: nobody else's. */
function whoElse(
  peer: PeerIdentity,
  expected: ExpectedPeer,
  networkId: string,
): string | undefined {
  if (peer.kind !== expected.kind || peer.name !== expected.name) {
    return `its certificate is for ${peer.kind} "${peer.name}"`;
  }
  if (peer.networkId !== networkId) return "its certificate is of another network";
  return undefined;
}
