/**
 * The key of a relay's or connector's session tickets, kept over restarts so that a return after one is early, too.
 * @module
 */
import { type Clock, type Logger, messageOf, type UnixMillis } from "../core/mod.ts";
import type { StateFolder } from "../identity/mod.ts";
import {
  decodeTicketKey,
  encodeTicketKey,
  TICKET_KEY_BYTES,
  type TicketKey,
  ticketKeyDue,
} from "../zero_rtt/mod.ts";

const FILE = "ticket.key";

/**
 * The ticket key in force: the file's, or a new one where it is missing, due or damaged (which costs each client one
 * full handshake, nothing worse). Call it at start and when {@linkcode ticketKeyDue} says so.
 *
 * @throws {StateError} where it cannot be read or written
 */
export async function loadTicketKey(
  folder: StateFolder,
  options: { now: UnixMillis; log: Logger },
): Promise<TicketKey> {
  const { now, log } = options;
  const bytes = await folder.read(FILE);
  const parsed = bytes && decodeTicketKey(bytes);
  if (parsed && "refused" in parsed) {
    log.warn("made a new ticket key as the old file is damaged", { file: folder.file(FILE) });
  }
  const current = parsed && "ok" in parsed ? parsed.ok : undefined;
  if (current && ticketKeyDue(current, now) > now) return current;
  const made: TicketKey = {
    key: crypto.getRandomValues(new Uint8Array(TICKET_KEY_BYTES)),
    madeAt: now,
  };
  await folder.write(FILE, encodeTicketKey(made));
  return made;
}

/** Between looks at a key's age, in milliseconds: little of the seven days that it lives. */
const LOOK_INTERVAL_MS = 3_600_000;

/** Makes a new key whenever one is due, until the signal; `changed` gets each. Tickets of the one before are refused from then on. */
export function watchTicketKey(
  folder: StateFolder,
  options: {
    current: TicketKey;
    clock: Clock;
    log: Logger;
    signal: AbortSignal;
    changed: (key: TicketKey) => void;
  },
): void {
  const { clock, log, signal, changed } = options;
  let { current } = options;
  const timer = setInterval(async () => {
    try {
      const key = await loadTicketKey(folder, { now: clock.unix(), log });
      if (key.madeAt === current.madeAt || signal.aborted) return;
      current = key;
      log.debug("made a new ticket key");
      changed(key);
    } catch (error) {
      log.warn("cannot look at the ticket key", { reason: messageOf(error) });
    }
  }, LOOK_INTERVAL_MS);
  signal.addEventListener("abort", () => clearInterval(timer), { once: true });
}
