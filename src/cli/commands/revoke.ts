/**
 * `postern revoke`
 * @module
 */
import { UserError } from "../../core/errors.ts";
import { defineCommand } from "../command.ts";
import { restArguments } from "../flags.ts";
import { identityMeant, kindsKnown, nameAmong, withRelayState } from "../network_store.ts";
import { readText } from "../readers.ts";
import { systemClock } from "../system_clock.ts";

/** Takes services from an identity, or shuts it out. */
export const revoke = defineCommand({
  name: "revoke",
  summary: "Take services, or everything, from an identity",
  about:
    "Run it on the relay's machine, as the relay's user. It takes effect within seconds, on live tunnels too. " +
    "With services, only these are taken; without, the identity is shut out for good, and an invite that waits for it is void. " +
    "A new invite lets it in again.",
  args: {
    words: restArguments({
      label: "[agent|connector] NAME [SERVICE]",
      read: readText,
      help: "who, and what; the kind is needed only where both have that name",
      needed: true,
    }),
  },
  flags: {},
  usage: ["[agent|connector] NAME [SERVICE...] [FLAGS]"],
  examples: [
    ["revoke alice ssh", "agent alice may no longer open ssh"],
    ["revoke agent alice", "agent alice is shut out"],
  ],
  async run(values, { io }) {
    return await withRelayState(values.state, ({ store }) => {
      const now = systemClock.unix();
      const { kind, name, rest } = identityMeant(
        values.words,
        (name) => kindsKnown(store, name, now),
      );
      const services = rest.map((word) => nameAmong(word, "service name"));
      if (services.length === 0) {
        const was = store.revoke(kind, name, { now });
        if (was === undefined) {
          throw new UserError(`Cannot revoke ${kind} "${name}" as it has nothing left to take`, {
            next: "see who has joined: postern identities",
          });
        }
        io.out(`${kind} ${name}: ${was === "invite" ? "invite is void" : "shut out"}\n`);
        return 0;
      }
      const taken = kind === "agent"
        ? store.ungrant(name, services, { now })
        : store.withdraw(name, services, { now });
      const verb = kind === "agent" ? "open" : "offer";
      if (taken === 0) {
        throw new UserError(
          `Cannot take ${services.join(", ")} from ${kind} "${name}" as it may not ${verb} ${
            services.length === 1 ? "it" : "them"
          } anyway`,
          { next: "see who may do what: postern identities" },
        );
      }
      const left = store.servicesOf(kind, name);
      io.out(`${kind} ${name} may ${verb}: ${left.length === 0 ? "nothing" : left.join(", ")}\n`);
      return 0;
    });
  },
});
