/**
 * `postern connector`
 * @module
 */
import { CONNECTION_FLAGS, defineCommand } from "../command.ts";
import { listFlag, restArguments } from "../flags.ts";
import { readInviteToken } from "../invite_source.ts";
import { CLIENT_FLAGS, definedOnly, runRole } from "../role.ts";
import { checkTargets, readServiceName, readTarget } from "../service_argument.ts";

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
  flags: {
    ...CLIENT_FLAGS,
    ...CONNECTION_FLAGS,
    noEarlyDataFor: listFlag({
      value: "SERVICE",
      read: readServiceName,
      help:
        "Open no flow to this service before the handshake is done, though other services may have 0-RTT",
    }),
  },
  examples: [
    ["connector --invite-file home.invite web=127.0.0.1:8080", "the first time"],
    ["connector", "ever after"],
    ["connector web=127.0.0.1:8080 dns=udp://127.0.0.1:53", "several services, other targets"],
    ["connector shop=127.0.0.1:8080 --no-early-data-for shop", "nothing early for this one"],
  ],
  async run(values, context) {
    checkTargets(values.services);
    const invite = await readInviteToken(values.inviteFile, context.io);
    const { runConnector } = await import("../../roles/connector.ts");
    const { services, noEarlyDataFor, relayPort, p2pPort, noPortGuessing, admin } = values;
    return await runRole("connector", values, context, (common) =>
      runConnector({
        ...common,
        services,
        noEarlyDataFor,
        noPortGuessing,
        ...definedOnly({ invite, relayPort, p2pPort, admin }),
      }));
  },
});
