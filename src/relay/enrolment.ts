/**
 * Joining and renewing: the relay's decision, apart from how the question arrives.
 * @module
 */
import * as v from "valibot";
import { type Clock, fromBase64Url, type HostPort, type Logger } from "../core/mod.ts";
import { pinOf, readCertificateRequest } from "../identity/mod.ts";
import { RedeemRequestSchema, RenewRequestSchema } from "../identity/enrolment_messages.ts";
import { type ClientKind, describeIssues, formatRelays } from "../identity/schemas.ts";
import type { Name } from "../identity/mod.ts";
import type { RelayAuthority } from "./authority.ts";
import { EnrolmentRefusal } from "./enrolment_refusal.ts";
import { refusalOf } from "./standing.ts";
import type { RelayStore } from "./store.ts";

/** What enrolment works with. */
export interface EnrolmentOptions {
  readonly store: RelayStore;
  readonly authority: RelayAuthority;
  readonly clock: Clock;
  readonly log: Logger;
  /** How others reach the relay just now; told to who joins or renews. */
  readonly relays: () => readonly HostPort[];
}

/** What one gets who joins or renews; JSON as in `identity/enrolment_messages.ts`. */
export interface EnrolmentAnswer {
  readonly certificate: string;
  readonly services: readonly Name[];
  readonly relays: readonly string[];
}

/** Gives certificates to who may have them. */
export class Enrolment {
  #options: EnrolmentOptions;

  constructor(options: EnrolmentOptions) {
    this.#options = options;
  }

  /**
   * Redeems an invite: the body of `POST /v1/redeem`.
   *
   * @throws {EnrolmentRefusal}
   */
  async redeem(body: unknown): Promise<EnrolmentAnswer> {
    const { secret, request } = parse(RedeemRequestSchema, body);
    const secretBytes = fromBase64Url(secret);
    if (!secretBytes) throw badRequest("the secret is not base64url");
    this.#requireSigner();
    const { name, publicKey } = await readRequest(request);
    const { store, clock, log } = this.#options;
    const pin = pinOf(publicKey);
    const invite = store.redeemInvite({ secret: secretBytes, name, pin, now: clock.unix() });
    log.info("invite redeemed", { kind: invite.kind, name, again: invite.again });
    return await this.#issue({ kind: invite.kind, name, publicKey, pin });
  }

  /**
   * Renews a certificate: the body of `POST /v1/renew`. The request's own signature shows that its sender holds the key;
   * a request sent again by somebody else only yields a certificate for that same key.
   *
   * @throws {EnrolmentRefusal}
   */
  async renew(body: unknown): Promise<EnrolmentAnswer> {
    const { kind, request } = parse(RenewRequestSchema, body);
    return await this.renewFor(kind, request);
  }

  /**
   * Renews for one whose kind is known, over whatever connection.
   *
   * @param request PKCS#10, PEM
   * @throws {EnrolmentRefusal}
   */
  async renewFor(kind: ClientKind, request: string): Promise<EnrolmentAnswer> {
    const { name, publicKey } = await readRequest(request);
    const claim = { kind, name, pin: pinOf(publicKey) };
    const standing = this.#options.store.standingOf(claim);
    if (standing !== "good") throw refusalOf(standing, claim);
    this.#requireSigner();
    return await this.#issue({ ...claim, publicKey });
  }

  async #issue(
    client: { kind: ClientKind; name: Name; publicKey: Uint8Array; pin: string },
  ): Promise<EnrolmentAnswer> {
    const { store, authority, clock, log, relays } = this.#options;
    const { kind, name } = client;
    const now = clock.unix();
    const { certificatePem, expires } = await authority.issue(client, { now });
    // Whoever was revoked while the certificate was made does not get it.
    store.certificateIssued(client, { expires, now });
    log.info("certificate issued", { kind, name, until: new Date(expires).toISOString() });
    return {
      certificate: certificatePem,
      services: store.servicesOf(kind, name),
      relays: formatRelays(relays()),
    };
  }

  /** Asked before an invite is used up for nothing. */
  #requireSigner(): void {
    if (!this.#options.authority.canSign) {
      throw new EnrolmentRefusal("not-signing", "its CA's key is kept elsewhere");
    }
  }
}

function badRequest(why: string): EnrolmentRefusal {
  return new EnrolmentRefusal("bad-request", why);
}

function parse<Schema extends v.GenericSchema>(
  schema: Schema,
  body: unknown,
): v.InferOutput<Schema> {
  const parsed = v.safeParse(schema, body);
  if (!parsed.success) throw badRequest(describeIssues(parsed.issues));
  return parsed.output;
}

async function readRequest(pem: string) {
  const request = await readCertificateRequest(pem);
  if (!request) {
    throw badRequest("the certificate request is not one, or not signed by its own key");
  }
  return request;
}
