/**
 * Ready-made worlds: an agent and a connector, each behind a NAT of some kind, with or without IPv6.
 * @module
 */
import type { Millis } from "../../src/core/clock.ts";
import { SimClient } from "./client.ts";
import { Blocked, Firewall, type Middlebox, Nat, type NatOptions } from "./nat.ts";
import { type Link, linkOf, Network, Site } from "./network.ts";
import { SeededRandom } from "./random.ts";
import { SimRelay } from "./relay.ts";

/** What stands between a site and the IPv4 internet. */
export const NAT_KINDS = [
  "none",
  "full-cone",
  "restricted",
  "port-restricted",
  "symmetric",
  "cgnat",
  "blocked",
] as const;
/** One of {@linkcode NAT_KINDS}. */
export type NatKind = typeof NAT_KINDS[number];

/** A site's IPv6: a stateful firewall, no firewall, none, or addresses that lead nowhere. */
export type V6Kind = "firewall" | "open" | "off" | "broken";

/** What world to make. */
export interface WorldOptions {
  readonly seed: number;
  readonly agent: NatKind;
  readonly connector: NatKind;
  /** @default "off" */
  readonly v6?: V6Kind | { readonly agent: V6Kind; readonly connector: V6Kind };
  /** Both sites' links. */
  readonly link?: Partial<Link>;
  /** How NATs pick ports. @default "random" */
  readonly ports?: NatOptions["ports"];
  readonly guessing?: boolean;
  /** One site for both ends. @default false */
  readonly oneLan?: boolean;
}

/** A world with its two ends. */
export interface World {
  readonly network: Network;
  readonly relay: SimRelay;
  readonly agent: SimClient;
  readonly connector: SimClient;
  readonly sites: { readonly agent: Site; readonly connector: Site };
}

const BEHAVIOURS: Record<
  Exclude<NatKind, "none" | "blocked">,
  Pick<NatOptions, "mapping" | "filtering">
> = {
  "full-cone": { mapping: "endpoint-independent", filtering: "endpoint-independent" },
  "restricted": { mapping: "endpoint-independent", filtering: "address-dependent" },
  "port-restricted": { mapping: "endpoint-independent", filtering: "address-and-port-dependent" },
  "symmetric": {
    mapping: "address-and-port-dependent",
    filtering: "address-and-port-dependent",
  },
  "cgnat": { mapping: "endpoint-independent", filtering: "address-and-port-dependent" },
};

function v4Boxes(
  kind: NatKind,
  options: { publicHost: string; ports: NatOptions["ports"] },
  random: SeededRandom,
): Middlebox[] {
  if (kind === "none") return [];
  if (kind === "blocked") return [new Blocked()];
  const { publicHost, ports = "random" } = options;
  const nat = (host: string) => new Nat({ ...BEHAVIOURS[kind], publicHost: host, ports }, random);
  // The home's NAT first; its outside address is the carrier's inside.
  return kind === "cgnat" ? [nat("100.64.0.7"), nat(publicHost)] : [nat(publicHost)];
}

/** Makes a world; nothing has happened in it yet. */
export function createWorld(options: WorldOptions): World {
  const random = new SeededRandom(options.seed);
  const network = new Network(random);
  const relay = new SimRelay(network);
  const v6 = typeof options.v6 === "object"
    ? options.v6
    : { agent: options.v6 ?? "off", connector: options.v6 ?? "off" };
  const site = (end: "agent" | "connector", number: number) => {
    const publicHost = `198.51.100.${number}`;
    const site = new Site(end, {
      link: linkOf(options.link),
      v4: v4Boxes(options[end], { publicHost, ports: options.ports }, random),
      v6: v6[end] === "off" ? undefined : v6[end] === "firewall" ? [new Firewall()] : [],
    });
    site.brokenV6 = v6[end] === "broken";
    network.own(publicHost, site);
    network.own(`2001:db8:${number}::2`, site);
    return site;
  };
  const agentSite = site("agent", 21);
  const sites = { agent: agentSite, connector: options.oneLan ? agentSite : site("connector", 22) };
  const end = (role: "agent" | "connector", number: number) => {
    const lan = options.oneLan ? 21 : number;
    const v4 = options[role] === "none" ? `198.51.100.${lan}` : `192.168.${lan}.${number}`;
    const v6Hosts = v6[role] === "off" ? [] : [`2001:db8:${lan}::${lan === number ? 2 : 3}`];
    return new SimClient({
      role,
      network,
      relay,
      site: sites[role],
      hosts: [...v6Hosts, v4],
      ...(options.guessing !== undefined && { guessing: options.guessing }),
    });
  };
  return { network, relay, sites, agent: end("agent", 21), connector: end("connector", 22) };
}

/** What came of an attempt. */
export interface Attempt {
  readonly direct: boolean;
  /** From the agent holding the connector's offer until a way was proven at the agent. */
  readonly provenAfter: Millis | undefined;
  /** … until the tunnel ran on a direct path. */
  readonly directAfter: Millis | undefined;
  /** The same from the agent sending its offer. On one LAN the tunnel is direct before the answer to it arrives. */
  readonly sinceJoined: Millis | undefined;
  readonly packets: number;
}

/** Lets both learn their addresses, joins them, and waits for the agent to be direct, `limit` at most. */
export function attempt(world: World, options: { limit: Millis; warmUp?: Millis }): Attempt {
  const { network, agent, connector } = world;
  network.scheduler.run(options.warmUp ?? 1500);
  network.sent.clear();
  const joined = network.scheduler.now();
  agent.join(connector);
  const direct = network.scheduler.run(options.limit, () => agent.path !== undefined);
  const at = (what: string) => agent.happenings.find((happening) => happening.what === what)?.at;
  const start = at("offer");
  const since = (time: Millis | undefined) =>
    start === undefined || time === undefined ? undefined : time - start;
  let packets = 0;
  for (const [site, traffic] of network.sent) if (site !== "relay") packets += traffic.packets;
  return {
    direct,
    provenAfter: since(at("use")),
    directAfter: since(direct ? network.scheduler.now() : undefined),
    sinceJoined: direct ? network.scheduler.now() - joined : undefined,
    packets,
  };
}
