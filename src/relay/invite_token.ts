/**
 * Making the one line that a person carries to the machine that shall join.
 * @module
 */
import { type HostPort, type UnixMillis, UserError } from "../core/mod.ts";
import { encodeInvite, MAX_INVITE_PINS } from "../identity/mod.ts";
import type { RelayAuthority } from "./authority.ts";
import type { InviteRequest } from "./invite_book.ts";
import type { Act, RelayStore } from "./store.ts";

/** How to make a token. */
export interface InviteTokenOptions {
  readonly store: RelayStore;
  readonly authority: Pick<RelayAuthority, "caDer">;
  /** Where others reach the relay. @default what its last start said */
  readonly relays?: readonly HostPort[];
}

/**
 * Makes an invite and its token. An agent's token carries the keys of the connectors that it will meet.
 *
 * @throws {UserError} where the name has joined already, or nobody knows where the relay is
 * @throws {RangeError} where something is out of bounds
 */
export function createInviteToken(
  request: InviteRequest & Act,
  options: InviteTokenOptions,
): { token: string; expires: UnixMillis } {
  const { store, authority } = options;
  const { kind, name, services } = request;
  const relays = options.relays?.length ? options.relays : store.publicAddresses();
  if (relays.length === 0) {
    throw new UserError(`Cannot invite ${kind} "${name}" as the relay's address is not known yet`, {
      next: "Start the relay once, or say how it is reached: postern relay --public HOST:PORT",
    });
  }
  const pins = kind === "agent" ? store.pinsOffering(services).slice(0, MAX_INVITE_PINS) : [];
  const { secret, expires } = store.createInvite(request);
  const ca = authority.caDer;
  return {
    token: encodeInvite({ kind, name, relays, services, secret, expires, pins, ca }),
    expires,
  };
}
