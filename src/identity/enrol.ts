/**
 * Joining a network with an invite, and keeping the certificate fresh: the client's side of enrolment.
 * @module
 */
import { createHash } from "node:crypto";
import * as v from "valibot";
import { toBase64Url, type UnixMillis, UserError } from "../core/mod.ts";
import { createCertificateRequest, networkIdOfCertificate } from "./certificates.ts";
import {
  assembleClientIdentity,
  type ClientIdentity,
  loadClientIdentity,
  saveClientIdentity,
} from "./client_identity.ts";
import {
  EnrolledSchema,
  ENROLMENT_ERROR_CODES,
  EnrolmentFailureSchema,
  REDEEM_PATH,
  RENEW_PATH,
} from "./enrolment_messages.ts";
import { EnrolmentError, refusedByRelay } from "./enrolment_error.ts";
import type { Invite } from "./invite.ts";
import { createKeyPair, type KeyPair, keyPairOf } from "./key_pair.ts";
import { encodePem } from "./pem.ts";
import type { PostOptions } from "./relay_post.ts";
import type { Name } from "./name.ts";
import { corruptFile, type StateFolder } from "./state_folder.ts";
import { quotePath, StateError } from "./state_error.ts";

/** How to know an invite again without keeping its secret: SHA-256, base64url. What the relay keeps, too. */
export function inviteHash(secret: Uint8Array): string {
  return toBase64Url(createHash("sha256").update(secret).digest());
}

/** What the relay gave. */
export interface Enrolled {
  readonly identity: ClientIdentity;
  /** What this connector may offer, or this agent may open. */
  readonly services: readonly Name[];
}

/** A key made for an invite whose redemption has not been seen to succeed. */
const PENDING_FILE = "enrolling.json";
const PendingSchema = v.object({ inviteHash: v.string(), privateKey: v.string() });

/**
 * Joins the network of an invite and keeps the identity in the folder. Where the folder's identity already came from this
 * very invite, nothing is asked: so an invite may stay in a service's environment.
 *
 * The key is kept before it is sent, and the relay answers the same key again: so an answer lost on the way,
 * or a crash, costs nobody their invite.
 *
 * @param options.now wall-clock time, to say that an invite has expired when the relay cannot
 * @throws {EnrolmentError} by `code`; `retryable` tells what may pass
 * @throws {UserError} where the folder is another machine's
 * @throws {StateError}
 */
export async function enrol(
  folder: StateFolder,
  invite: Invite,
  options: { now: UnixMillis; signal?: AbortSignal },
): Promise<Enrolled> {
  const networkId = networkIdOfCertificate(invite.ca);
  if (networkId === undefined) {
    throw new UserError("Cannot use this invite as its CA certificate cannot be read", {
      next: "Have the invite made again with the relay's version of Postern",
    });
  }
  if (invite.kind !== folder.role) {
    const whose = invite.kind === "agent" ? "an agent" : "a connector";
    throw new UserError(`Cannot join as ${folder.role} as the invite is for ${whose}`, {
      next: `Start it with: postern ${invite.kind}`,
    });
  }
  const hash = inviteHash(invite.secret);
  const known = await loadClientIdentity(folder);
  if (known?.inviteHash === hash) return { identity: known, services: invite.services };
  if (known && (known.name !== invite.name || known.networkId !== networkId)) {
    throw new StateError(
      "not-ours",
      `Cannot join as ${invite.kind} "${invite.name}" as ${
        quotePath(folder.path)
      } is the state of ` +
        `${known.kind} "${known.name}"` +
        (known.networkId === networkId ? "" : " of another network"),
      { next: "Give another folder with --state" },
    );
  }
  const keyPair = await pendingKeyPair(folder, hash);
  const caPem = encodePem("CERTIFICATE", invite.ca);
  const body = {
    secret: toBase64Url(invite.secret),
    request: await createCertificateRequest(keyPair, { name: invite.name }),
  };
  const action = `join the network as ${invite.kind} "${invite.name}"`;
  let enrolled: Enrolled;
  try {
    enrolled = await ask(REDEEM_PATH, body, {
      action,
      relays: invite.relays,
      caPem,
      networkId,
      signal: options.signal,
      privateKeyPem: keyPair.privateKeyPem,
      inviteHash: hash,
    });
  } catch (error) {
    // Only the relay knows the right time; but where it cannot be asked, an old invite is the likelier trouble.
    if (
      error instanceof EnrolmentError && error.code === "unreachable" &&
      invite.expires < options.now
    ) {
      throw refusedByRelay("invite-expired", { action, message: "this invite has expired" });
    }
    throw error;
  }
  const { identity } = enrolled;
  if (identity.kind !== invite.kind || identity.name !== invite.name) {
    throw wrongAnswer(action, `the certificate is for ${identity.kind} "${identity.name}"`);
  }
  await saveClientIdentity(folder, identity);
  await folder.remove(PENDING_FILE);
  return enrolled;
}

async function pendingKeyPair(folder: StateFolder, hash: string): Promise<KeyPair> {
  const next = "Remove it and try again";
  const pending = await folder.readJson(PENDING_FILE, PendingSchema, { next });
  if (pending?.inviteHash === hash) {
    try {
      return keyPairOf(pending.privateKey);
    } catch {
      throw corruptFile(folder.file(PENDING_FILE), "the private key cannot be read", { next });
    }
  }
  const keyPair = await createKeyPair();
  await folder.writeJson(PENDING_FILE, { inviteHash: hash, privateKey: keyPair.privateKeyPem });
  return keyPair;
}

/**
 * A fresh certificate for the same key, kept in the folder. Works with a certificate that has expired: what counts is
 * that the relay knows the key and has not revoked it.
 *
 * @throws {EnrolmentError} by `code`
 * @throws {StateError}
 */
export async function renew(
  folder: StateFolder,
  identity: ClientIdentity,
  options: { signal?: AbortSignal } = {},
): Promise<Enrolled> {
  const keyPair = keyPairOf(identity.privateKeyPem);
  const { kind, name, caPem, networkId, relays, privateKeyPem } = identity;
  const action = `renew the certificate of ${kind} "${name}"`;
  const body = { kind, request: await createCertificateRequest(keyPair, { name }) };
  const enrolled = await ask(RENEW_PATH, body, {
    action,
    relays,
    caPem,
    networkId,
    signal: options.signal,
    privateKeyPem,
    inviteHash: identity.inviteHash,
  });
  if (enrolled.identity.kind !== kind || enrolled.identity.name !== name) {
    throw wrongAnswer(action, "the certificate is for another");
  }
  await saveClientIdentity(folder, enrolled.identity);
  return enrolled;
}

interface AskOptions extends PostOptions {
  readonly action: string;
  readonly privateKeyPem: string;
  readonly inviteHash: string;
}

async function ask(path: string, body: unknown, options: AskOptions): Promise<Enrolled> {
  const { action, caPem, privateKeyPem, inviteHash } = options;
  // Loaded here, as the runtime's TLS takes 25 ms to load and most starts ask for nothing.
  const { postToRelay } = await import("./relay_post.ts");
  const { status, json } = await postToRelay(path, body, options);
  if (status !== 200) {
    const failure = v.safeParse(EnrolmentFailureSchema, json);
    if (!failure.success) throw wrongAnswer(action, `it answers with HTTP status ${status}`);
    const { error, message } = failure.output;
    // A newer relay may have reasons that we do not know: its words must do then.
    const code = ENROLMENT_ERROR_CODES.find((known) => known === error) ?? "bad-request";
    throw refusedByRelay(code, { action, message });
  }
  const parsed = v.safeParse(EnrolledSchema, json);
  if (!parsed.success) throw wrongAnswer(action, "its answer has the wrong shape");
  const { certificate, services, relays } = parsed.output;
  try {
    const identity = assembleClientIdentity({
      privateKeyPem,
      certificatePem: certificate,
      caPem,
      relays,
      inviteHash,
    });
    return { identity, services };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw wrongAnswer(action, error.message);
  }
}

function wrongAnswer(action: string, why: string): EnrolmentError {
  return new EnrolmentError("wrong-answer", `Cannot ${action} as the relay misbehaves: ${why}`, {
    next: "Update Postern here or at the relay, so that both have the same version",
  });
}
