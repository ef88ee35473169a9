/**
 * What a client keeps of its relay to come back early: the engine's ticket, the relay's clock, and how to ask it for our address.
 * @module
 */
import type { RelayMessageOf } from "../control/mod.ts";
import { type Clock, fromBase64Url, toHex } from "../core/mod.ts";
import type { QuicConnection } from "../quic/mod.ts";
import {
  type ClockOffset,
  decideSend,
  issueTime,
  learnOffset,
  type RelayFacts,
  type TicketPeer,
} from "../zero_rtt/mod.ts";
import type { TicketBook } from "./ticket_book.ts";

/** How to ask the relay where it sees us. */
export type ObserveFacts = NonNullable<RelayFacts["observe"]>;

/** What an early return begins with. */
export interface EarlyReturn {
  readonly session: Uint8Array;
  /** Now, on the relay's clock. */
  readonly issuedAt: number;
  readonly observe: ObserveFacts | undefined;
}

/** When to look for the relay's ticket: soon after welcome, and then again, as it may send newer ones; in milliseconds. */
const FIRST_LOOK = 100;
const LOOK_INTERVAL = 600_000;

/** See the module's head. */
export class RelayTicket {
  readonly #tickets: TicketBook;
  readonly #peer: TicketPeer;
  readonly #serverName: string;
  readonly #clock: Clock;
  #offset: ClockOffset | undefined;
  #observe: ObserveFacts | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    options: { tickets: TicketBook; networkId: string; serverName: string; clock: Clock },
  ) {
    this.#tickets = options.tickets;
    this.#peer = { kind: "relay", name: "relay", networkId: options.networkId };
    this.#serverName = options.serverName;
    this.#clock = options.clock;
  }

  /** What to return with; `undefined`: a full handshake has to come first. */
  forReturn(): EarlyReturn | undefined {
    const ticket = this.#tickets.get(this.#peer);
    const facts = ticket?.facts.kind === "relay" ? ticket.facts : undefined;
    const decision = decideSend({
      enabled: true,
      ticket: ticket ? "good" : "none",
      clockKnown: facts?.clock != null,
      service: "none",
    });
    if (decision.send === "wait" || !ticket || !facts?.clock) return undefined;
    const issuedAt = issueTime(facts.clock, this.#clock.unix());
    return { session: ticket.session, issuedAt, observe: facts.observe };
  }

  /** The relay has welcomed us; `elapsedMs` since the hello. */
  welcomed(welcome: RelayMessageOf<"welcome">, elapsedMs: number): void {
    this.#observe = observeFactsOf(welcome);
    this.#offset = learnOffset({
      receiverNow: welcome.now,
      receivedAt: this.#clock.unix(),
      roundTripMs: elapsedMs,
    });
  }

  /** Looks for tickets on this connection until stopped, or until it is closed. */
  keep(connection: QuicConnection, address: string, delayMs: number = FIRST_LOOK): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (connection.closed) return;
      const session = connection.ticket();
      if (session) {
        this.#tickets.put(this.#peer, session, {
          kind: "relay",
          address,
          serverName: this.#serverName,
          clock: this.#offset ?? null,
          ...(this.#observe ? { observe: this.#observe } : {}),
        });
      }
      this.keep(connection, address, LOOK_INTERVAL);
    }, delayMs);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}

/** How the relay says that it wants to be asked; `undefined` where that cannot be read. */
export function observeFactsOf(
  { observeKey, observePorts }: RelayMessageOf<"welcome">,
): ObserveFacts | undefined {
  const key = fromBase64Url(observeKey.key);
  return key ? { id: observeKey.id, key: toHex(key), ports: observePorts } : undefined;
}
