/**
 * The tickets of a client on disk: read once, written behind the caller's back.
 * @module
 */
import { type Clock, type Logger, messageOf } from "../core/mod.ts";
import type { StateFolder } from "../identity/mod.ts";
import {
  sessionLifetime,
  type Ticket,
  type TicketFacts,
  type TicketPeer,
  TicketStore,
} from "../zero_rtt/mod.ts";

const FILE = "tickets.json";

/** Between a change and its writing, in milliseconds: several come together. */
const WRITE_DELAY = 200;

/** See the module's head. A ticket is a convenience: nothing here ever fails for want of one. */
export class TicketBook {
  readonly #folder: StateFolder;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #store: TicketStore;
  #written: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #writing: Promise<void> = Promise.resolve();

  private constructor(
    parts: { folder: StateFolder; clock: Clock; log: Logger; store: TicketStore },
  ) {
    this.#folder = parts.folder;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#store = parts.store;
    this.#written = parts.store.revision;
  }

  /** Reads the file; one that cannot be read is set aside, which costs a full handshake and nothing else. */
  static async open(
    folder: StateFolder,
    options: { clock: Clock; log: Logger },
  ): Promise<TicketBook> {
    let store = new TicketStore();
    try {
      const text = await folder.readText(FILE);
      const parsed = text === undefined ? undefined : TicketStore.parse(text, options.clock.unix());
      if (parsed && "ok" in parsed) store = parsed.ok;
      else if (parsed) throw new SyntaxError(parsed.refused);
    } catch (error) {
      options.log.warn(
        "set the tickets aside as they cannot be read: returns begin with a full handshake",
        {
          file: folder.file(FILE),
          reason: messageOf(error),
        },
      );
      await Deno.rename(folder.file(FILE), folder.file(`${FILE}.damaged`)).catch(() => {});
    }
    return new TicketBook({ folder, ...options, store });
  }

  get(peer: TicketPeer): Ticket | undefined {
    return this.#store.get(peer, this.#clock.unix());
  }

  /** The newest ticket of a connector that offered the service. */
  connectorFor(service: string, networkId: string): Ticket | undefined {
    return this.#store.connectorsFor(service, { networkId, now: this.#clock.unix() })[0];
  }

  put(peer: TicketPeer, session: Uint8Array, facts: TicketFacts): void {
    const now = this.#clock.unix();
    this.#store.put({ peer, session, facts }, { now, lifetimeMs: sessionLifetime(session) });
    this.#save();
  }

  drop(peer: TicketPeer): void {
    if (this.#store.drop(peer)) this.#save();
  }

  /** Writes what is not written yet. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#writing;
    if (this.#store.revision === this.#written) return;
    this.#written = this.#store.revision;
    this.#writing = this.#folder.write(FILE, this.#store.serialize()).catch((error) => {
      this.#log.warn("cannot keep tickets", { reason: messageOf(error) });
    });
    await this.#writing;
  }

  #save(): void {
    this.#timer ??= setTimeout(() => void this.flush(), WRITE_DELAY);
  }
}
