/**
 * `postern connector`
 * @module
 */
import { CONNECTION_FLAGS, defineCommand } from "../command.ts";
import { restArguments } from "../flags.ts";
import { readInviteToken } from "../invite_source.ts";
import { CLIENT_FLAGS, definedOnly, runRole } from "../role.ts";
import { checkTargets, readTarget } from "../service_argument.ts";

/** Runs a connector. */
export const connector = defineCommand({
  name: "connector",
  summary: "Offer services from beside them",
  about:
    "It dials out only: no port has to be opened for it. Started again without arguments, it " +
    "comes back with what its state folder remembers.",
  args: {
    services: restArguments({
      label: "SERVICE=[tcp://|udp://]HOST:PORT",
      read: readTarget,
      help: "A service's name and where it really is",
    }),
  },
  flags: { ...CLIENT_FLAGS, ...CONNECTION_FLAGS },
  examples: [
    ["connector --invite-file home.invite web=127.0.0.1:8080", "the first time"],
    ["connector", "ever after"],
    ["connector web=127.0.0.1:8080 dns=udp://127.0.0.1:53", "several services, other targets"],
  ],
  async run(values, context) {
    checkTargets(values.services);
    const invite = await readInviteToken(values.inviteFile, context.io);
    const { runConnector } = await import("../../roles/connector.ts");
    const { services, relayPort, p2pPort, noPortGuessing, admin } = values;
    return await runRole("connector", values, context, (common) =>
      runConnector({
        ...common,
        services,
        noPortGuessing,
        ...definedOnly({ invite, relayPort, p2pPort, admin }),
      }));
  },
});
