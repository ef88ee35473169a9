/**
 * The commands that change a network work on the relay's state folder, beside a running relay or without one.
 * @module
 */
import { type Name, parseName } from "../identity/name.ts";
import type { ClientKind } from "../identity/schemas.ts";
import type { RelayState } from "../relay/state.ts";
import type { RelayStore } from "../relay/store.ts";
import { messageOf, UsageError, UserError } from "../core/errors.ts";
import type { Reader } from "./flags.ts";
import { systemClock } from "./system_clock.ts";
import { stateFolderOf } from "./state_choice.ts";

/** What joins by invite. */
export const CLIENT_KINDS: readonly ClientKind[] = ["connector", "agent"];

/** A network's name for something, with what is named in the refusal. */
export function readNameOf(what: string): Reader<Name> {
  return (text) => parseName(text, { what });
}

/**
 * A name among words that no table reads.
 *
 * @throws {UsageError}
 */
export function nameAmong(word: string, what: string): Name {
  try {
    return parseName(word, { what });
  } catch (error) {
    throw new UsageError(messageOf(error));
  }
}

/**
 * Opens the relay's state, and closes it after the work.
 *
 * @throws {StateError} `missing` and its like
 */
export async function withRelayState<T>(
  folder: string | undefined,
  work: (state: RelayState) => T | Promise<T>,
): Promise<T> {
  const { openRelayState } = await import("../relay/state.ts");
  using state = await openRelayState(stateFolderOf("relay", folder), { now: systemClock.unix() });
  return await work(state);
}

/**
 * Whom a person means by `[KIND] NAME …`: the kind may be left out where one kind alone has that name.
 *
 * @throws {UserError} where nobody is known by that name, or one of each kind
 */
export function identityMeant(
  words: readonly string[],
  knownAs: (name: Name) => readonly ClientKind[],
): { kind: ClientKind; name: Name; rest: readonly string[] } {
  const kind = CLIENT_KINDS.find((one) => one === words[0]);
  if (kind !== undefined && words.length > 1) {
    return { kind, name: nameAmong(words[1]!, `${kind}'s name`), rest: words.slice(2) };
  }
  const name = nameAmong(words[0] ?? "", "name");
  const kinds = knownAs(name);
  if (kinds.length === 1) return { kind: kinds[0]!, name, rest: words.slice(1) };
  throw kinds.length === 0
    ? new UserError(`Cannot find "${name}" as none of that name has joined or been invited`, {
      next: "see who has: postern identities",
    })
    : new UserError(`Cannot tell which "${name}" is meant as a connector and an agent have it`, {
      next: `say which: connector ${name}, or agent ${name}`,
    });
}

/** Kinds by which a name has joined, or waits to. */
export function kindsKnown(store: RelayStore, name: Name, now: number): ClientKind[] {
  const invites = store.openInvites(now);
  return CLIENT_KINDS.filter((kind) =>
    store.identityOf(kind, name) !== undefined ||
    invites.some((invite) => invite.kind === kind && invite.name === name)
  );
}
