/**
 * Who may do what, read from the store into one snapshot; read again when the store has changed, by whichever process.
 * @module
 */
import type { PolicySnapshot } from "../relay/registry.ts";
import type { RelayStore } from "../relay/store.ts";

/** Between looks at the store, in milliseconds: a `revoke` in another process takes effect within it. A look costs microseconds. */
const LOOK_INTERVAL = 500;

/** The store's content as the registry wants it. */
export function readPolicy(store: RelayStore): PolicySnapshot {
  const grants = new Map<string, ReadonlySet<string>>();
  const offers = new Map<string, ReadonlySet<string>>();
  const revoked = { agent: new Set<string>(), connector: new Set<string>() };
  for (const { kind, name, revoked: when } of store.listIdentities()) {
    if (when !== null) revoked[kind].add(name);
    (kind === "agent" ? grants : offers).set(name, new Set(store.servicesOf(kind, name)));
  }
  return { grants, offers, revoked };
}

/** Calls `changed` with every new policy until stopped; `look` does it at once. */
export function watchPolicy(
  store: RelayStore,
  options: { changed: (policy: PolicySnapshot) => void; failed: (error: unknown) => void },
): { look(): void; stop(): void } {
  let version = store.version();
  const look = () => {
    try {
      const now = store.version();
      if (now === version) return;
      version = now;
      options.changed(readPolicy(store));
    } catch (error) {
      options.failed(error);
    }
  };
  const timer = setInterval(look, LOOK_INTERVAL);
  return { look, stop: () => clearInterval(timer) };
}
