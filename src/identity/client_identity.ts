/**
 * What a connector or an agent keeps of the network that it has joined.
 * @module
 */
import * as v from "valibot";
import { type HostPort, type UnixMillis } from "../core/mod.ts";
import { keyPairOf, pinOf } from "./key_pair.ts";
import { isSignedBy, parsePeerCertificate } from "./peer_certificate.ts";
import { decodePem } from "./pem.ts";
import { networkIdOfCertificate } from "./certificates.ts";
import { type Name } from "./name.ts";
import {
  type ClientKind,
  ClientKindSchema,
  formatRelays,
  NameSchema,
  RelaysSchema,
} from "./schemas.ts";
import { RELAY_NAME, serverNameOf } from "./server_name.ts";
import { StateError } from "./state_error.ts";
import { corruptFile, type StateFolder } from "./state_folder.ts";

/** A joined machine's identity, checked to be whole: key, certificate and CA belong together. */
export interface ClientIdentity {
  readonly kind: ClientKind;
  readonly name: Name;
  readonly networkId: string;
  /** PKCS#8; never leaves this machine. */
  readonly privateKeyPem: string;
  readonly certificatePem: string;
  readonly caPem: string;
  /** SHA-256 of the public key, base64url. */
  readonly pin: string;
  readonly notBefore: UnixMillis;
  readonly notAfter: UnixMillis;
  /** Where the relay is, the likeliest first. */
  readonly relays: readonly HostPort[];
  /** What TLS checks the relay's certificate against. */
  readonly relayServerName: string;
  /** SHA-256 (base64url) of the secret of the invite that was redeemed, to know it when it comes again. */
  readonly inviteHash: string;
}

/** What a {@linkcode ClientIdentity} is made of; the rest is read from the certificate. */
export type ClientIdentityParts = Pick<
  ClientIdentity,
  "privateKeyPem" | "certificatePem" | "caPem" | "relays" | "inviteHash"
>;

const FILE = "identity.json";
const FileSchema = v.object({
  kind: ClientKindSchema,
  name: NameSchema,
  relays: RelaysSchema,
  inviteHash: v.string(),
  certificate: v.string(),
  ca: v.string(),
  privateKey: v.string(),
});

/**
 * Puts an identity together.
 *
 * @throws {SyntaxError} saying which parts do not belong together
 */
export function assembleClientIdentity(parts: ClientIdentityParts): ClientIdentity {
  const ca = decodePem("CERTIFICATE", parts.caPem);
  const networkId = ca && networkIdOfCertificate(ca);
  if (!ca || networkId === undefined) throw new SyntaxError("the CA's certificate cannot be read");
  const certificate = decodePem("CERTIFICATE", parts.certificatePem);
  const peer = certificate && parsePeerCertificate(certificate);
  if (!certificate || !peer) throw new SyntaxError("the certificate cannot be read");
  const { kind, name, notBefore, notAfter, pin } = peer;
  if (kind === "relay") throw new SyntaxError("the certificate is a relay's");
  if (peer.networkId !== networkId || !isSignedBy(certificate, ca)) {
    throw new SyntaxError("the certificate is not signed by the network's CA");
  }
  if (pinOf(keyPairOf(parts.privateKeyPem).publicKey) !== pin) {
    throw new SyntaxError("the private key is not the certificate's");
  }
  const relayServerName = serverNameOf({ kind: "relay", name: RELAY_NAME, networkId });
  return { ...parts, kind, name, networkId, pin, notBefore, notAfter, relayServerName };
}

/**
 * The identity in a state folder; `undefined` where this machine has not joined yet.
 *
 * @throws {StateError} `corrupt` where it cannot be used: it is never overwritten
 */
export async function loadClientIdentity(folder: StateFolder): Promise<ClientIdentity | undefined> {
  const next =
    `Restore it from a backup; or join anew: move it away, and at the relay revoke this ` +
    `${folder.role} and invite it again`;
  const file = await folder.readJson(FILE, FileSchema, { next });
  if (file === undefined) return undefined;
  try {
    const identity = assembleClientIdentity({
      privateKeyPem: file.privateKey,
      certificatePem: file.certificate,
      caPem: file.ca,
      relays: file.relays,
      inviteHash: file.inviteHash,
    });
    if (identity.kind !== file.kind || identity.name !== file.name) {
      throw new SyntaxError("the certificate is for another name");
    }
    return identity;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw corruptFile(folder.file(FILE), error.message, { next });
  }
}

/** Keeps an identity, whole or not at all. @throws {StateError} */
export function saveClientIdentity(folder: StateFolder, identity: ClientIdentity): Promise<void> {
  return folder.writeJson(FILE, {
    kind: identity.kind,
    name: identity.name,
    relays: formatRelays(identity.relays),
    inviteHash: identity.inviteHash,
    certificate: identity.certificatePem,
    ca: identity.caPem,
    privateKey: identity.privateKeyPem,
  });
}

/** What to tell a person who starts a role that has not joined a network, and gives no invite. */
export function noIdentityError(folder: StateFolder): StateError {
  const example = folder.role === "connector"
    ? "connector NAME --service S"
    : "agent NAME --allow S";
  return new StateError(
    "missing",
    `Cannot start ${folder.role} as it has not joined a network yet`,
    {
      next:
        `At the relay: postern invite ${example}; then start this one with --invite-file FILE ` +
        `or the token in POSTERN_INVITE`,
    },
  );
}
