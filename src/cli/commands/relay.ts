/**
 * `postern relay`
 * @module
 */
import { CONNECTION_FLAGS, defineCommand } from "../command.ts";
import { defaultedFlag, listFlag, valueFlag } from "../flags.ts";
import { readHostPort, readPath } from "../readers.ts";
import { ADMIN_FLAG, definedOnly, runRole } from "../role.ts";

/** Runs the relay. */
export const relay = defineCommand({
  name: "relay",
  summary: "Run the relay, the only part with a public address",
  about:
    "It introduces connectors and agents to each other, tells each how the internet sees it, and " +
    "forwards sealed packets that it cannot read when no direct way exists. Open its port for UDP " +
    "(QUIC) and TCP (invites are redeemed over HTTPS there).\n\nThe first start makes the network's keys.",
  args: {},
  flags: {
    listen: defaultedFlag({
      value: "[HOST:]PORT",
      read: readHostPort({ defaultHost: "::" }),
      shown: "[::]:4433",
      help: "Listen there, UDP and TCP alike",
    }),
    public: listFlag({
      value: "HOST:PORT",
      read: readHostPort(),
      help: "How others reach this relay; goes into invites",
    }),
    admin: ADMIN_FLAG,
    caKey: valueFlag({
      value: "FILE",
      read: readPath,
      path: true,
      help: "The CA's private key, where it does not live in the state folder",
    }),
    ...CONNECTION_FLAGS,
  },
  examples: [
    ["relay --public relay.example.com:4433", "on a machine that others can reach"],
    ["relay --state r --listen 127.0.0.1:4433", "to try things on one machine"],
  ],
  async run(values, context) {
    const { runRelay } = await import("../../roles/relay.ts");
    const { listen, public: publicAddresses, admin, caKey } = values;
    return await runRole(
      "relay",
      values,
      context,
      (common) =>
        runRelay({ ...common, listen, public: publicAddresses, ...definedOnly({ admin, caKey }) }),
    );
  },
});
