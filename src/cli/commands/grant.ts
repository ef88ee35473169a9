/**
 * `postern grant`
 * @module
 */
import { defineCommand } from "../command.ts";
import { restArguments } from "../flags.ts";
import { UsageError } from "../../core/errors.ts";
import { identityMeant, kindsKnown, nameAmong, withRelayState } from "../network_store.ts";
import { readText } from "../readers.ts";
import { systemClock } from "../system_clock.ts";

/** Lets an agent open services, or a connector offer them. */
export const grant = defineCommand({
  name: "grant",
  summary: "Let an agent open services, or a connector offer them",
  about: "Run it on the relay's machine, as the relay's user. It takes effect within seconds.",
  args: {
    words: restArguments({
      label: "[agent|connector] NAME SERVICE",
      read: readText,
      help: "who, and what; the kind is needed only where both have that name",
      needed: true,
    }),
  },
  flags: {},
  usage: ["[agent|connector] NAME SERVICE... [FLAGS]"],
  examples: [
    ["grant alice web ssh", "let agent alice open web and ssh"],
    ["grant connector home ssh", "let connector home offer ssh"],
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
        throw new UsageError(`Cannot grant nothing to ${kind} "${name}"`, {
          next: `name services: postern grant ${kind} ${name} web`,
        });
      }
      if (kind === "agent") store.grant(name, services, { now });
      else store.offer(name, services, { now });
      const verb = kind === "agent" ? "may open" : "may offer";
      io.out(`${kind} ${name} ${verb}: ${store.servicesOf(kind, name).join(", ")}\n`);
      return 0;
    });
  },
});
