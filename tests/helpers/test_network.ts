/**
 * A whole network's keys and certificates in memory, for tests of anything that speaks TLS or QUIC.
 * @module
 */
import {
  createCa,
  createKeyPair,
  decodePem,
  type IdentityKind,
  issueCertificate,
  parseName,
  parsePeerCertificate,
  RELAY_NAME,
  serverNameOf,
} from "../../src/identity/mod.ts";

/** One identity of a {@linkcode TestNetwork}. */
export interface TestIdentity {
  readonly name: string;
  /** PKCS#8. */
  readonly keyPem: string;
  readonly certPem: string;
  /** The one DNS name in its certificate. */
  readonly serverName: string;
  /** SHA-256 of the public key, base64url. */
  readonly pin: string;
}

/** A CA and what it has signed. */
export interface TestNetwork {
  readonly networkId: string;
  readonly caPem: string;
  readonly caKeyPem: string;
  readonly relay: TestIdentity;
  /** A connector with a key of its own; another one at each call, though the name be the same. */
  connector(name: string, options?: TestIdentityOptions): Promise<TestIdentity>;
  /** An agent with a key of its own; another one at each call, though the name be the same. */
  agent(name: string, options?: TestIdentityOptions): Promise<TestIdentity>;
}

/** What may be out of the ordinary. */
export interface TestIdentityOptions {
  /** When it was issued, Unix milliseconds; to make one that has expired. @default Date.now() */
  readonly now?: number;
  /** Milliseconds. @default seven days */
  readonly lifetime?: number;
}

/** Makes a CA and a relay's certificate; the others on demand. Takes about 50 ms the first time. */
export async function createTestNetwork(): Promise<TestNetwork> {
  const ca = await createCa({ now: Date.now() });
  async function identity(
    kind: IdentityKind,
    text: string,
    options: TestIdentityOptions = {},
  ): Promise<TestIdentity> {
    const name = parseName(text);
    const keyPair = await createKeyPair();
    const certPem = await issueCertificate(ca, {
      kind,
      name,
      publicKey: keyPair.publicKey,
      now: options.now ?? Date.now(),
      ...(options.lifetime === undefined ? {} : { lifetime: options.lifetime }),
    });
    const serverName = serverNameOf({ kind, name, networkId: ca.networkId });
    const { pin } = parsePeerCertificate(decodePem("CERTIFICATE", certPem)!)!;
    return { name, keyPem: keyPair.privateKeyPem, certPem, serverName, pin };
  }
  return {
    networkId: ca.networkId,
    caPem: ca.certificatePem,
    caKeyPem: ca.privateKeyPem,
    relay: await identity("relay", RELAY_NAME),
    connector: (name, options) => identity("connector", name, options),
    agent: (name, options) => identity("agent", name, options),
  };
}
