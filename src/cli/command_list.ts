/**
 * All commands, light enough to be loaded for `--version`; each loads its own code when asked for.
 * @module
 */
import type { AnyCommand } from "./command.ts";

/** A command that is not loaded yet. */
export interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  load(): Promise<AnyCommand>;
}

/** In the order in which a person needs them. */
export const COMMANDS: readonly CommandEntry[] = [
  {
    name: "relay",
    summary: "Run the relay, the only part with a public address",
    load: async () => (await import("./commands/relay.ts")).relay,
  },
  {
    name: "invite",
    summary: "Make a single-use invite for a connector or an agent",
    load: async () => (await import("./commands/invite.ts")).invite,
  },
  {
    name: "connector",
    summary: "Offer services from beside them",
    load: async () => (await import("./commands/connector.ts")).connector,
  },
  {
    name: "agent",
    summary: "Open local ports that lead to services",
    load: async () => (await import("./commands/agent.ts")).agent,
  },
  {
    name: "status",
    summary: "Show how the role that runs here is",
    load: async () => (await import("./commands/status.ts")).status,
  },
  {
    name: "ping",
    summary: "Time the way to a service, echo by echo",
    load: async () => (await import("./commands/ping.ts")).ping,
  },
  {
    name: "netcheck",
    summary: "Show what NATs and firewalls do here, and what that means",
    load: async () => (await import("./commands/netcheck.ts")).netcheck,
  },
  {
    name: "connect",
    summary: "Join stdin and stdout to a service (for ssh's ProxyCommand)",
    load: async () => (await import("./commands/connect.ts")).connect,
  },
  {
    name: "grant",
    summary: "Let an agent open services, or a connector offer them",
    load: async () => (await import("./commands/grant.ts")).grant,
  },
  {
    name: "revoke",
    summary: "Take services, or everything, from an identity",
    load: async () => (await import("./commands/revoke.ts")).revoke,
  },
  {
    name: "identities",
    summary: "List who belongs to this network and what each may do",
    load: async () => (await import("./commands/identities.ts")).identities,
  },
  {
    name: "forget",
    summary: "Forget the key of a connector or agent that was set up anew",
    load: async () => (await import("./commands/forget.ts")).forget,
  },
  {
    name: "demo",
    summary: "Show it all on this machine: three processes, real traffic",
    load: async () => (await import("./commands/demo.ts")).demo,
  },
];
