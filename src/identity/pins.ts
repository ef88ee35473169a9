/**
 * Known keys: which public key belongs to which name, as SSH's `known_hosts` has it.
 *
 * The CA says that a key may use a name; the pin says that it is still the *same* key. So a CA in bad hands cannot slip in
 * between two ends that know each other.
 * @module
 */
import { type UnixMillis, UserError } from "../core/mod.ts";
import { isPin } from "./key_pair.ts";
import { isName, type Name } from "./name.ts";

/** 4096 peers of one agent or connector: refused beyond, never forgotten in favour of another, which would defeat it. */
export const MAX_PINS = 4096;

/** A peer as far as pins care. */
export interface PinnedPeer {
  readonly kind: "connector" | "agent" | "relay";
  readonly name: Name;
  /** SHA-256 of the public key, base64url. */
  readonly pin: string;
}

/** One line of the table. */
export interface PinEntry extends PinnedPeer {
  /** When it was first seen. */
  readonly since: UnixMillis;
}

/** What a look at the table says. */
export type PinVerdict = "known" | "new" | "changed";

const HEADING =
  "# Keys of peers that this machine knows: kind, name, SHA-256 of the public key, since when.\n" +
  "# A peer whose key has changed is refused. If the change is wanted: postern forget KIND NAME.\n";

/** The last line: a file that was cut short would otherwise be a shorter list, and whoever is missing in it a stranger. */
const ENDING = "# end";

/** The known keys, in memory. Where they are kept is {@linkcode KnownKeys}'s business. */
export class PinTable {
  #entries = new Map<string, PinEntry>();

  /** How many peers are known. */
  get size(): number {
    return this.#entries.size;
  }

  /** Is this the key that we know for that name? */
  check(peer: PinnedPeer): PinVerdict {
    const known = this.#entries.get(`${peer.kind} ${peer.name}`);
    return known === undefined ? "new" : known.pin === peer.pin ? "known" : "changed";
  }

  /**
   * Remembers a new peer. `false`, and nothing remembered, where another key is known for that name or
   * {@linkcode MAX_PINS} are known already.
   */
  remember(peer: PinnedPeer, now: UnixMillis): boolean {
    const verdict = this.check(peer);
    if (verdict !== "new") return verdict === "known";
    if (this.#entries.size >= MAX_PINS) return false;
    const { kind, name, pin } = peer;
    this.#entries.set(`${kind} ${name}`, { kind, name, pin, since: now });
    return true;
  }

  /** Forgets a peer, as a person has said that its key changed on purpose. Was it known? */
  forget(peer: { kind: PinnedPeer["kind"]; name: Name }): boolean {
    return this.#entries.delete(`${peer.kind} ${peer.name}`);
  }

  /** All entries, the oldest first. */
  entries(): PinEntry[] {
    return [...this.#entries.values()];
  }

  /** As text, one peer a line, so that a person can remove one with an editor. */
  format(): string {
    return HEADING + this.entries()
      .map(({ kind, name, pin, since }) =>
        `${kind} ${name} ${pin} ${new Date(since).toISOString()}\n`
      )
      .join("") +
      `${ENDING}\n`;
  }

  /**
   * Reads {@linkcode format} back.
   *
   * @throws {SyntaxError} naming the line that is wrong, or saying that the end is missing
   */
  static parse(text: string): PinTable {
    const table = new PinTable();
    for (const [index, line] of text.split("\n").entries()) {
      const words = line.trim().split(/\s+/);
      const [kind, name, pin, since] = words;
      if (words[0] === "" || line.trimStart().startsWith("#")) continue;
      const time = Date.parse(since ?? "");
      const good = (kind === "connector" || kind === "agent" || kind === "relay") &&
        isName(name) && isPin(pin) && Number.isFinite(time) && words.length === 4;
      if (!good || !table.remember({ kind, name, pin }, time)) {
        throw new SyntaxError(
          good
            ? `line ${index + 1} is a second key for ${kind} "${name}", or one too many`
            : `line ${index + 1} is not "kind name key since"`,
        );
      }
    }
    if (text.trimEnd().split("\n").at(-1)?.trim() !== ENDING) {
      throw new SyntaxError(
        `its last line, "${ENDING}", is missing, so it may have been cut short`,
      );
    }
    return table;
  }
}

/** What to tell a person whose peer comes with another key. `state` is the folder where the known keys are. */
export function changedKeyError(peer: PinnedPeer, options: { state: string }): UserError {
  const { kind, name } = peer;
  return new UserError(
    `Cannot trust ${kind} "${name}" as its key has changed since it was first seen here: ` +
      `someone may be between, or it was set up anew`,
    {
      next:
        `If it was set up anew on purpose: postern forget --state ${
          shown(options.state)
        } ${kind} ${name}, ` +
        `and try again; if not, do not, and ask whoever runs the relay`,
    },
  );
}

/** As a shell takes it. */
function shown(path: string): string {
  return /^[\w./:~+-]+$/.test(path) ? path : JSON.stringify(path);
}
