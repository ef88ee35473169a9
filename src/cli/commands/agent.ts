/**
 * `postern agent`
 * @module
 */
import { CONNECTION_FLAGS, defineCommand } from "../command.ts";
import { restArguments, valueFlag } from "../flags.ts";
import { readInviteToken } from "../invite_source.ts";
import { readHostPort } from "../readers.ts";
import { CLIENT_FLAGS, definedOnly, runRole } from "../role.ts";
import { checkForwards, readForward } from "../service_argument.ts";

const readLocal = readHostPort({ defaultHost: "127.0.0.1" });

/** Runs an agent. */
export const agent = defineCommand({
  name: "agent",
  summary: "Open local ports that lead to services",
  about:
    "Applications connect to the local port and talk to the service behind it. Started again without " +
    "arguments, it comes back with what its state folder remembers.",
  args: {
    forwards: restArguments({
      label: "SERVICE=[tcp://|udp://][HOST:]PORT",
      read: readForward,
      help: "A service's name and the local port that leads to it (host: 127.0.0.1)",
    }),
  },
  flags: {
    socks: valueFlag({
      value: "[HOST:]PORT",
      read: readLocal,
      help: "Offer a SOCKS5 proxy there, for names such as web.postern",
    }),
    httpProxy: valueFlag({
      value: "[HOST:]PORT",
      read: readLocal,
      help: "Offer an HTTP CONNECT proxy and a PAC file there",
    }),
    ...CLIENT_FLAGS,
    ...CONNECTION_FLAGS,
  },
  examples: [
    [
      "agent --invite-file alice.invite web=9000",
      "the first time; then: curl http://127.0.0.1:9000/",
    ],
    ["agent", "ever after"],
    ["agent web=9000 dns=udp://5353 --socks 1080", "several services, and a proxy"],
  ],
  async run(values, context) {
    checkForwards(values.forwards);
    const invite = await readInviteToken(values.inviteFile, context.io);
    const { runAgent } = await import("../../roles/agent.ts");
    const { forwards, socks, httpProxy, relayPort, p2pPort, noPortGuessing, admin } = values;
    return await runRole("agent", values, context, (common) =>
      runAgent({
        ...common,
        forwards,
        noPortGuessing,
        ...definedOnly({ invite, socks, httpProxy, relayPort, p2pPort, admin }),
      }));
  },
});
