/**
 * The relay's whole state: folder, store and authority, which must belong together.
 * @module
 */
import { type Logger, type UnixMillis } from "../core/mod.ts";
import { openStateFolder, quotePath, StateError, type StateFolder } from "../identity/mod.ts";
import { RelayAuthority } from "./authority.ts";
import { RelayStore, STORE_FILE } from "./store.ts";

/** An open relay state. Disposing of it closes the store. */
export interface RelayState {
  readonly folder: StateFolder;
  readonly store: RelayStore;
  readonly authority: RelayAuthority;
  [Symbol.dispose](): void;
}

/** How to open it. */
export interface OpenRelayStateOptions {
  readonly now: UnixMillis;
  /** Make what is missing: only the relay itself does, at its first start. @default false */
  readonly create?: boolean;
  /** Where the CA's key is, if not in the folder. */
  readonly caKey?: string | undefined;
  readonly log?: Logger;
}

/**
 * Opens a relay's state: for the relay itself (`create`), and for commands beside it (`invite`, `grant`, `revoke` …).
 * Nothing that is missing is made anew where another part says that there was a network already.
 *
 * @throws {StateError}
 */
export async function openRelayState(
  path: string,
  options: OpenRelayStateOptions,
): Promise<RelayState> {
  const { create = false, now, caKey } = options;
  const folder = await openStateFolder(path, { role: "relay", create });
  const hasCa = await folder.read("ca.pem") !== undefined;
  // The store comes first: an empty one without a CA is a first start that was cut short, the reverse is a loss.
  const store = RelayStore.open(folder, { create: create && !hasCa, check: create });
  try {
    if (!hasCa && (store.listIdentities().length > 0 || store.openInvites(now).length > 0)) {
      throw new StateError(
        "missing",
        `Cannot open ${
          quotePath(folder.file("ca.pem"))
        } as it does not exist, though ${STORE_FILE} ` +
          `knows a network`,
        { next: "Restore it from a backup; or start a new network in another folder with --state" },
      );
    }
    const log = options.log ? { log: options.log } : {};
    const authority = await RelayAuthority.open(folder, { now, caKey, create, ...log });
    return { folder, store, authority, [Symbol.dispose]: () => store.close() };
  } catch (error) {
    store.close();
    throw error;
  }
}
