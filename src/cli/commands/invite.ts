/**
 * `postern invite`
 * @module
 */
import { formatHostPort, type HostPort } from "../../core/address.ts";
import { UsageError, UserError } from "../../core/errors.ts";
import type { Name } from "../../identity/name.ts";
import type { ClientKind } from "../../identity/schemas.ts";
import type { RelayState } from "../../relay/state.ts";
import type { RelayStore } from "../../relay/store.ts";
import { type Context, defineCommand } from "../command.ts";
import { argument, defaultedFlag, listFlag } from "../flags.ts";
import { formatSeconds } from "../format.ts";
import { CLIENT_KINDS, readNameOf, withRelayState } from "../network_store.ts";
import { readChoice, readDuration, readHostPort, readInteger } from "../readers.ts";
import { systemClock } from "../system_clock.ts";

/** Milliseconds between looks for a relay that is just starting. */
const POLL_INTERVAL = 100;

interface Wanted {
  readonly kind: ClientKind;
  readonly name: Name;
  readonly services: readonly Name[];
  readonly ttl: number;
  readonly public: readonly HostPort[];
}

/** Not yet: the relay has not finished its first start. */
class NotReady extends UserError {}

interface Made {
  readonly token: string;
  readonly relays: readonly HostPort[];
  /** Services that nobody offers, or is invited to. */
  readonly unoffered: readonly Name[];
}

async function makeToken({ store, authority, folder }: RelayState, wanted: Wanted): Promise<Made> {
  const relays = wanted.public.length > 0 ? wanted.public : store.publicAddresses();
  if (relays.length === 0) {
    throw new NotReady("Cannot make an invite as nobody has said how others reach the relay", {
      next: `start it once: postern relay --state ${folder.path} --public HOST:PORT`,
    });
  }
  const { createInviteToken } = await import("../../relay/invite_token.ts");
  const { kind, name, services, ttl } = wanted;
  const request = { kind, name, services, ttl, now: systemClock.unix() };
  const { token } = createInviteToken(request, { store, authority, relays });
  const unoffered = services.filter((one) => kind === "agent" && !isOffered(store, one));
  return { token, relays, unoffered };
}

/** {@linkcode makeToken}, waiting for a relay that is just making its keys. */
async function makeTokenSoon(
  folder: string | undefined,
  wanted: Wanted,
  waitMs: number,
): Promise<Made> {
  const { StateError } = await import("../../identity/state_error.ts");
  const until = systemClock.now() + waitMs;
  for (;;) {
    try {
      return await withRelayState(folder, (state) => makeToken(state, wanted));
    } catch (error) {
      const early = error instanceof NotReady ||
        (error instanceof StateError && error.code === "missing");
      if (!early || systemClock.now() >= until) throw error;
    }
    await new Promise((go) => setTimeout(go, POLL_INTERVAL));
  }
}

function isOffered(store: RelayStore, service: Name): boolean {
  return store.connectorsOffering(service).length > 0 ||
    store.openInvites(systemClock.unix()).some(({ kind, services }) =>
      kind === "connector" && services.includes(service)
    );
}

/** What the person at the relay does next; to stderr, as stdout holds the token alone. */
function explain(wanted: Wanted, relays: readonly HostPort[], { io, self }: Context): void {
  const { kind, name, services, ttl } = wanted;
  const source = io.outIsTerminal ? "-" : `${name}.invite`;
  const service = services[0] ?? "SERVICE";
  const what = kind === "connector" ? `${service}=127.0.0.1:8080` : `${service}=9000`;
  io.err(
    `Invite for ${kind} "${name}", good once and for ${formatSeconds(ttl / 1000)}, at relay ${
      relays.map(formatHostPort).join(", ")
    }. Whoever has it can join: pass it on privately.\n` +
      `On its machine: ${self} ${kind} --invite-file ${source} ${what}\n`,
  );
}

/** Makes an invite. */
export const invite = defineCommand({
  name: "invite",
  summary: "Make a single-use invite for a connector or an agent",
  about:
    "Run it on the relay's machine, as the relay's user. It prints one line, the token; whoever has it " +
    "can join once under this name, until it expires.",
  args: {
    kind: argument({
      label: "connector|agent",
      read: readChoice(CLIENT_KINDS),
      help: "what is invited",
    }),
    name: argument({ label: "NAME", read: readNameOf("name"), help: "the name it will have" }),
  },
  flags: {
    service: listFlag({
      value: "S",
      read: readNameOf("service name"),
      help: "A service that the connector may offer",
    }),
    allow: listFlag({
      value: "S",
      read: readNameOf("service name"),
      help: "A service that the agent may open",
    }),
    ttl: defaultedFlag({
      value: "TIME",
      read: readDuration,
      shown: "1h",
      help: "How long it is good: 30m, 1h, 7d; 30 days at most",
    }),
    public: listFlag({
      value: "HOST:PORT",
      read: readHostPort(),
      help: "How this one reaches the relay, where it is not as the relay was told",
    }),
    wait: defaultedFlag({
      value: "SECONDS",
      read: readInteger({ min: 0, max: 600 }),
      shown: "3",
      help: "How long to wait for a relay that is just starting",
    }),
  },
  usage: [
    "connector NAME --service S [--service S]... [FLAGS]",
    "agent NAME --allow S [--allow S]... [FLAGS]",
  ],
  examples: [
    ["invite connector home --service web > home.invite", "for the machine beside the service"],
    ["invite agent alice --allow web > alice.invite", "for a laptop"],
  ],
  async run(values, context) {
    const { kind, name, ttl } = values;
    const [flag, other, services, others] = kind === "connector"
      ? ["--service", "--allow", values.service, values.allow]
      : ["--allow", "--service", values.allow, values.service];
    if (others.length > 0) {
      throw new UsageError(`Cannot use ${other} for ${kind === "agent" ? "an" : "a"} ${kind}`, {
        next: `say ${flag} ${others[0]}`,
      });
    }
    if (services.length === 0) {
      throw new UsageError(`Cannot invite ${kind} "${name}" without ${flag}`, {
        next: `say what it may ${kind === "agent" ? "open" : "offer"}: ${flag} web`,
      });
    }
    const { MAX_SERVICES } = await import("../../identity/schemas.ts");
    const { MAX_INVITE_TTL } = await import("../../relay/invite_book.ts");
    if (services.length > MAX_SERVICES) {
      throw new UsageError(
        `Cannot invite with ${services.length} services: ${MAX_SERVICES} at most`,
      );
    }
    if (ttl > MAX_INVITE_TTL) {
      throw new UsageError("Cannot make an invite good for more than 30 days", {
        next: "say --ttl 30d or less",
      });
    }
    const wanted = { kind, name, services: [...new Set(services)], ttl, public: values.public };
    const made = await makeTokenSoon(values.state, wanted, values.wait * 1000);
    context.io.out(`${made.token}\n`);
    if (context.io.errIsTerminal) explain(wanted, made.relays, context);
    for (const service of made.unoffered) {
      context.io.err(`postern: nobody has been invited yet to offer "${service}"\n`);
    }
    return 0;
  },
});
