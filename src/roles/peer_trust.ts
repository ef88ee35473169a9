/**
 * Who is at the other end of a tunnel: what its certificate says, what the relay says, and what this machine knows.
 * @module
 */
import type { Logger, UnixMillis } from "../core/mod.ts";
import { type KnownKeys, parsePeerCertificate, type PeerIdentity } from "../identity/mod.ts";

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
  const wrong = whyWrong(peer, expected, { networkId, now });
  if (wrong) return `Cannot trust ${who} as ${wrong}`;
  const pinned = { kind: expected.kind, name: peer.name, pin: peer.pin };
  const verdict = knownKeys.check(pinned);
  if (verdict === "changed") {
    const error = knownKeys.changedKeyError(pinned);
    log.error(error.message, { next: error.next });
    return error.message;
  }
  if (verdict === "new") {
    knownKeys.remember(pinned, now);
    log.info("first contact: its key is remembered", { peer: who, key: peer.pin });
  }
  return undefined;
}

function whyWrong(
  peer: PeerIdentity,
  expected: ExpectedPeer,
  { networkId, now }: Pick<TrustContext, "networkId" | "now">,
): string | undefined {
  if (peer.kind !== expected.kind || peer.name !== expected.name) {
    return `its certificate is for ${peer.kind} "${peer.name}"`;
  }
  if (peer.networkId !== networkId) return "its certificate is of another network";
  if (peer.pin !== expected.pin) return "its key is not the one that the relay knows";
  // Resumption does not look at the certificate's dates again, so we do.
  if (now > peer.notAfter) return "its certificate has expired";
  return undefined;
}
