/**
 * The known keys of a state folder: the table in memory, and its file.
 * @module
 */
import type { UnixMillis, UserError } from "../core/mod.ts";
import type { Name } from "./name.ts";
import { changedKeyError, type PinnedPeer, PinTable, type PinVerdict } from "./pins.ts";
import { corruptFile, type StateFolder } from "./state_folder.ts";

const FILE = "known_keys";

/** Checks peers at once, and writes what is new behind the caller's back: a handshake never waits for a disk. */
export class KnownKeys {
  #folder: StateFolder;
  #table: PinTable;
  #onError: (error: unknown) => void;
  #dirty = false;
  #writing: Promise<void> | undefined;

  private constructor(folder: StateFolder, table: PinTable, onError: (error: unknown) => void) {
    this.#folder = folder;
    this.#table = table;
    this.#onError = onError;
  }

  /**
   * Reads the file, if it is there.
   *
   * @param options.onError told when a new key could not be written; it is still known until this process ends
   * @throws {StateError} `corrupt`, naming the line: known keys are never thrown away silently
   */
  static async load(
    folder: StateFolder,
    options: { onError?: (error: unknown) => void } = {},
  ): Promise<KnownKeys> {
    const text = await folder.readText(FILE);
    try {
      const table = text === undefined ? new PinTable() : PinTable.parse(text);
      return new KnownKeys(folder, table, options.onError ?? (() => {}));
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      throw corruptFile(folder.file(FILE), error.message, {
        next:
          "Restore it from a backup, or correct it: a peer whose line is gone is trusted anew at " +
          "first contact",
      });
    }
  }

  /** Is this the key that we know for that name? Synchronous. */
  check(peer: PinnedPeer): PinVerdict {
    return this.#table.check(peer);
  }

  /** Remembers a new peer, as {@linkcode PinTable.remember}; the file follows. */
  remember(peer: PinnedPeer, now: UnixMillis): boolean {
    const before = this.#table.size;
    const remembered = this.#table.remember(peer, now);
    if (this.#table.size !== before) this.#save();
    return remembered;
  }

  /** Forgets a peer whose key changed on purpose; the file follows. */
  forget(peer: { kind: PinnedPeer["kind"]; name: Name }): boolean {
    const known = this.#table.forget(peer);
    if (known) this.#save();
    return known;
  }

  /** What to tell a person when {@linkcode check} said `changed`. */
  changedKeyError(peer: PinnedPeer): UserError {
    return changedKeyError(peer, { state: this.#folder.path });
  }

  /** Resolves when all is written. */
  async flush(): Promise<void> {
    while (this.#writing) await this.#writing;
  }

  /** One write at a time; what changes meanwhile goes into the next, so a burst of peers costs two writes. */
  #save(): void {
    this.#dirty = true;
    this.#writing ??= this.#write();
  }

  async #write(): Promise<void> {
    while (this.#dirty) {
      this.#dirty = false;
      try {
        await this.#folder.write(FILE, this.#table.format());
      } catch (error) {
        this.#onError(error);
      }
    }
    this.#writing = undefined;
  }
}
