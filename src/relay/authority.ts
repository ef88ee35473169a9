/**
 * The network's CA as the relay has it, and the relay's own certificate.
 *
 * ```text
 * ca.pem      the CA's certificate
 * ca.key      the CA's key, unless it lives elsewhere (--ca-key)
 * relay.pem   the relay's key and certificate
 * ```
 * @module
 */
import { SILENT_LOGGER } from "../core/mod.ts";
import type { Bytes, Logger, UnixMillis } from "../core/mod.ts";
import {
  type CertificateAuthority,
  createCa,
  createKeyPair,
  decodePem,
  type Identity,
  isSignedBy,
  issueCertificate,
  type KeyPair,
  keyPairOf,
  LEAF_LIFETIME,
  type Name,
  networkIdOf,
  networkIdOfCertificate,
  parsePeerCertificate,
  pinOf,
  quotePath,
  RELAY_NAME,
  renewalTime,
  serverNameOf,
  StateError,
  stateErrorOf,
  type StateFolder,
} from "../identity/mod.ts";
import type { ClientKind } from "../identity/schemas.ts";
import { corruptFile } from "../identity/state_folder.ts";
import { EnrolmentRefusal } from "./enrolment_refusal.ts";

const CA_FILE = "ca.pem";
const CA_KEY_FILE = "ca.key";
const RELAY_FILE = "relay.pem";
const RESTORE = "Restore it from a backup; without it this network cannot go on";

/** The relay's own key and certificate. */
export interface RelayCertificate {
  /** PKCS#8. */
  readonly keyPem: string;
  readonly certPem: string;
  /** The one DNS name in it, which clients check. */
  readonly serverName: string;
  readonly notBefore: UnixMillis;
  readonly notAfter: UnixMillis;
}

/** How to open an authority. */
export interface OpenAuthorityOptions {
  readonly now: UnixMillis;
  /** Where the CA's key is, if not in the state folder. It is made there where it is missing at the first start. */
  readonly caKey?: string | undefined;
  /** Make a CA where there is none. @default false */
  readonly create?: boolean;
  readonly log?: Logger;
}

/** Signs for the network, if it has the CA's key, and keeps the relay's own certificate fresh. */
export class RelayAuthority {
  /** 16 hex digits. */
  readonly networkId: string;
  /** The CA's certificate. */
  readonly caPem: string;
  /** The same, DER: for invites. */
  readonly caDer: Bytes;
  #folder: StateFolder;
  #ca: CertificateAuthority | undefined;
  #relay: RelayCertificate | undefined;
  #log: Logger;

  private constructor(
    folder: StateFolder,
    caPem: string,
    options: { ca: CertificateAuthority | undefined; log: Logger },
  ) {
    const caDer = decodePem("CERTIFICATE", caPem);
    const networkId = caDer && networkIdOfCertificate(caDer);
    if (!caDer || networkId === undefined) {
      throw corruptFile(folder.file(CA_FILE), "it is no CA's certificate", { next: RESTORE });
    }
    this.#folder = folder;
    this.#ca = options.ca;
    this.#log = options.log;
    this.caPem = caPem;
    this.caDer = caDer;
    this.networkId = networkId;
  }

  /**
   * Opens the authority of a relay's state folder, or makes it.
   *
   * @throws {StateError} `missing` where there is none and none is to be made; `corrupt`
   */
  static async open(folder: StateFolder, options: OpenAuthorityOptions): Promise<RelayAuthority> {
    const log = options.log ?? SILENT_LOGGER;
    const keyFile = options.caKey ?? folder.file(CA_KEY_FILE);
    const caPem = await folder.readText(CA_FILE);
    const keyPair = await readCaKey(keyFile);
    if (caPem === undefined) {
      return await RelayAuthority.#create(folder, keyPair, { ...options, log });
    }
    if (!keyPair && options.caKey !== undefined) {
      throw new StateError(
        "missing",
        `Cannot open the CA's key ${quotePath(keyFile)} as it does not exist`,
        {
          next: RESTORE,
        },
      );
    }
    const authority = new RelayAuthority(folder, caPem, { ca: undefined, log });
    if (keyPair) {
      if (networkIdOf(keyPair.publicKey) !== authority.networkId) {
        throw corruptFile(keyFile, `it is not the key of ${quotePath(folder.file(CA_FILE))}`, {
          next: RESTORE,
        });
      }
      const { networkId } = authority;
      const { privateKeyPem } = keyPair;
      authority.#ca = { networkId, certificatePem: caPem, privateKeyPem };
    }
    return authority;
  }

  static async #create(
    folder: StateFolder,
    keyPair: KeyPair | undefined,
    options: OpenAuthorityOptions & { log: Logger },
  ): Promise<RelayAuthority> {
    if (!options.create) {
      throw new StateError(
        "missing",
        `Cannot open the CA in ${quotePath(folder.path)} as no relay has been started there`,
        { next: `Start it once: postern relay --state ${folder.path}` },
      );
    }
    const ca = await createCa({ now: options.now, ...(keyPair ? { keyPair } : {}) });
    // The key comes first: a certificate whose key was never kept would lock this network out for ever.
    if (!keyPair) {
      if (options.caKey === undefined) await folder.write(CA_KEY_FILE, ca.privateKeyPem);
      else await writeKey(options.caKey, ca.privateKeyPem);
    }
    await folder.write(CA_FILE, ca.certificatePem);
    options.log.info("made the network's CA", { network: ca.networkId });
    return new RelayAuthority(folder, ca.certificatePem, { ca, log: options.log });
  }

  /** Is the CA's key here? Where it is not, nobody can join or renew at this relay. */
  get canSign(): boolean {
    return this.#ca !== undefined;
  }

  /**
   * A client's certificate.
   *
   * @throws {EnrolmentRefusal} `not-signing` where the CA's key lives elsewhere
   */
  async issue(
    request: { kind: ClientKind; name: Name; publicKey: Uint8Array },
    options: { now: UnixMillis },
  ): Promise<{ certificatePem: string; expires: UnixMillis }> {
    if (!this.#ca) {
      throw new EnrolmentRefusal("not-signing", "its CA's key is kept elsewhere");
    }
    const certificatePem = await issueCertificate(this.#ca, { ...request, now: options.now });
    return { certificatePem, expires: options.now + LEAF_LIFETIME };
  }

  /**
   * The relay's own certificate: made at the first call, renewed when a third of its life is left, under the same key.
   * Call it before use and every hour; `notBefore` tells whether it is another one.
   *
   * @throws {StateError} `corrupt`, or `missing` where there is none in force and the CA's key is elsewhere
   */
  async relayCertificate(now: UnixMillis): Promise<RelayCertificate> {
    this.#relay ??= await this.#readRelay();
    const current = this.#relay;
    if (current && renewalTime(current) > now && current.notBefore <= now) return current;
    if (!this.#ca) {
      if (current && current.notAfter > now) return current;
      throw new StateError(
        "missing",
        `Cannot start the relay as its certificate ${
          current ? "has expired" : "is missing"
        } and the CA's key is elsewhere`,
        { next: "Start it with --ca-key FILE" },
      );
    }
    const keyPair = current ? keyPairOf(current.keyPem) : await createKeyPair();
    const certPem = await issueCertificate(this.#ca, {
      kind: "relay",
      name: RELAY_NAME,
      publicKey: keyPair.publicKey,
      now,
    });
    await this.#folder.write(RELAY_FILE, keyPair.privateKeyPem + certPem);
    this.#log.info(current ? "renewed the relay's certificate" : "made the relay's certificate");
    const made = this.#toRelay(keyPair.privateKeyPem, certPem);
    if (!made) throw new TypeError("Cannot read the certificate that was just made");
    return this.#relay = made;
  }

  async #readRelay(): Promise<RelayCertificate | undefined> {
    const text = await this.#folder.readText(RELAY_FILE);
    if (text === undefined) return undefined;
    const at = text.indexOf("-----BEGIN CERTIFICATE-----");
    const relay = at < 0 ? undefined : this.#toRelay(text.slice(0, at), text.slice(at));
    if (relay) return relay;
    // Clients know the relay by the CA's word alone, so a new key harms nobody; the old file is kept for whoever asks why.
    if (!this.#ca) {
      throw corruptFile(this.#folder.file(RELAY_FILE), "it is not a relay's key and certificate");
    }
    await this.#folder.write(`${RELAY_FILE}.damaged`, text);
    this.#log.warn("set a damaged relay certificate aside", { file: `${RELAY_FILE}.damaged` });
    return undefined;
  }

  #toRelay(keyPem: string, certPem: string): RelayCertificate | undefined {
    const der = decodePem("CERTIFICATE", certPem);
    const peer = der && parsePeerCertificate(der);
    if (!peer || peer.kind !== "relay" || !isSignedBy(der, this.caDer)) return undefined;
    try {
      if (pinOf(keyPairOf(keyPem).publicKey) !== peer.pin) return undefined;
    } catch {
      return undefined;
    }
    const { notBefore, notAfter } = peer;
    return { keyPem, certPem, serverName: serverNameOf(this.identity), notBefore, notAfter };
  }

  /** Who the relay is. */
  get identity(): Identity {
    return { kind: "relay", name: RELAY_NAME, networkId: this.networkId };
  }
}

async function readCaKey(path: string): Promise<KeyPair | undefined> {
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw stateErrorOf(error, "read the CA's key", path);
  }
  try {
    return keyPairOf(text);
  } catch {
    throw corruptFile(path, "it is not PKCS#8 with an EC key on P-256", { next: RESTORE });
  }
}

/** A key outside the state folder: made, never overwritten. */
async function writeKey(path: string, pem: string): Promise<void> {
  try {
    await Deno.writeTextFile(path, pem, { createNew: true, mode: 0o600 });
  } catch (error) {
    throw stateErrorOf(error, "write the CA's key", path);
  }
}
