/**
 * Addresses and routes of a lab, computed from its options alone.
 *
 * ```
 *   agent ── natA ── (ispA) ══ link A ══╗
 *                                       inet ══ link R ══ relay
 *   connector ── natB ── (ispB) ══ link B ══╝
 * ```
 *
 * Documentation addresses stand for the internet (RFC 5737, RFC 3849), private ones for LANs (RFC 1918), shared
 * ones for the provider's network (RFC 6598).
 * @module
 */
import type {
  HostName,
  LabOptions,
  LinkName,
  NatKind,
  NodeName,
  PlainNat,
  Site,
} from "./options.ts";

/** The relay's addresses. It has two of each family, so that NATs can be told apart. */
export const RELAY = {
  v4: ["198.51.100.10", "198.51.100.11"],
  v6: ["2001:db8:10::10", "2001:db8:10::11"],
} as const;
const INET_V4 = "198.51.100.254";
const INET_V6 = "2001:db8::fe";
/** Router's end and client's end of every uplink. */
const UPSTREAM_V6 = "fe80::1";
const DOWNSTREAM_V6 = "fe80::2";

/** One of the two networks of a site that its host can be in: the usual one, and the one it can roam to. */
export interface HostNetwork {
  readonly interface: "eth0" | "eth1";
  /** The router's interface for it. */
  readonly port: "lan" | "lan1";
  readonly v4: string;
  readonly v4Prefix: number;
  readonly v4Gateway: string;
  readonly v6: string;
  readonly v6Gateway: string;
  /** What the site's NAT makes of it, as the internet sees it. */
  readonly publicV4: string;
}

/** All that is fixed about a site. */
export interface SitePlan {
  readonly site: Site;
  readonly host: "agent" | "connector";
  readonly nat: "natA" | "natB";
  /** The provider's NAT, if there is one. */
  readonly isp: "ispA" | "ispB" | undefined;
  readonly kind: PlainNat;
  readonly networks: readonly [HostNetwork, HostNetwork];
  /** Public addresses of the outermost box: usual, after a change of address, for the second network. */
  readonly publicV4: readonly [string, string, string];
  /** Addresses of the inner box in the provider's network, one per host network. */
  readonly sharedV4: readonly [string, string];
  readonly sharedGateway: string;
  readonly v6Prefix: string;
  readonly hasV6: boolean;
}

/** Splits `cgnat-symmetric` and the like. */
export function splitNat(kind: NatKind): { inner: PlainNat; cgnat: boolean } {
  return kind.startsWith("cgnat-")
    ? { inner: kind.slice("cgnat-".length) as PlainNat, cgnat: true }
    : { inner: kind as PlainNat, cgnat: false };
}

/** The plan of one site. */
export function planSite(site: Site, options: LabOptions): SitePlan {
  const number = site === "A" ? 21 : 22;
  const { inner, cgnat } = splitNat((site === "A" ? options.a : options.b) ?? "port-restricted");
  const publicV4 = [
    `198.51.100.${number}`,
    `198.51.100.${number + 100}`,
    `198.51.100.${number + 200}`,
  ] as const;
  const v6 = options.v6 ?? "firewall";
  const hasV6 = v6 !== "off" && v6 !== `absent-${site.toLowerCase()}`;
  const network = (index: 0 | 1): HostNetwork => {
    const v6Net = index === 0 ? `2001:db8:${number}:` : `2001:db8:${number}:1:`;
    const common = {
      interface: index === 0 ? "eth0" : "eth1",
      port: index === 0 ? "lan" : "lan1",
      v6: `${v6Net}:2`,
      v6Gateway: `${v6Net}:1`,
    } as const;
    if (inner === "none") {
      const base = 16 * (number - 20) + 8 * index;
      const v4 = `203.0.113.${base + 2}`;
      return { ...common, v4, v4Prefix: 29, v4Gateway: `203.0.113.${base + 1}`, publicV4: v4 };
    }
    const lan = options.sameSubnet && index === 0 ? "192.168.1" : `10.${number}.${index}`;
    const last = options.sameSubnet && site === "B" ? 3 : 2;
    return {
      ...common,
      v4: `${lan}.${last}`,
      v4Prefix: 24,
      v4Gateway: `${lan}.1`,
      publicV4: index === 0 ? publicV4[0] : publicV4[2],
    };
  };
  return {
    site,
    host: site === "A" ? "agent" : "connector",
    nat: `nat${site}`,
    isp: cgnat ? `isp${site}` : undefined,
    kind: inner,
    networks: [network(0), network(1)],
    publicV4,
    sharedV4: [`100.64.${number}.2`, `100.64.${number}.3`],
    sharedGateway: `100.64.${number}.1`,
    v6Prefix: `2001:db8:${number}::/48`,
    hasV6,
  };
}

/** The sites of a lab: one in a LAN lab, else two. */
export function planSites(options: LabOptions): SitePlan[] {
  return options.lan ? [planSite("A", options)] : [planSite("A", options), planSite("B", options)];
}

/** Where the connector of a LAN lab is: beside the agent. */
export function lanNeighbour(agent: HostNetwork): HostNetwork {
  const step = (address: string) => address.replace(/\d+$/, (last) => String(Number(last) + 1));
  return { ...agent, v4: step(agent.v4), v6: step(agent.v6) };
}

/** The namespaces of a lab. */
export function nodesOf(options: LabOptions): NodeName[] {
  const nodes: NodeName[] = ["inet", "relay", "agent", "connector"];
  for (const { nat, isp } of planSites(options)) nodes.push(nat, ...(isp ? [isp] : []));
  return nodes;
}

/** One cable: an interface in each of two namespaces. The first end is the site's. */
export interface Cable {
  readonly ends: readonly [[NodeName, string], [NodeName, string]];
  /** Emulated under this name; `undefined`: a bare veth pair. */
  readonly link?: LinkName;
  /** `tap` where the segment has more than two stations. */
  readonly kind?: "tun" | "tap";
}

/** Every cable of a lab. */
export function cablesOf(options: LabOptions): Cable[] {
  const cables: Cable[] = [
    { ends: [["relay", "eth0"], ["inet", "siteR"]], link: "R", kind: "tun" },
  ];
  for (const { site, host, nat, isp } of planSites(options)) {
    cables.push({ ends: [[host, "eth0"], [nat, options.lan ? "port0" : "lan"]] });
    cables.push({ ends: [[host, "eth1"], [nat, "lan1"]] });
    if (isp) cables.push({ ends: [[nat, "wan"], [isp, "lan"]] });
    cables.push({ ends: [[isp ?? nat, "wan"], ["inet", `site${site}`]], link: site, kind: "tun" });
  }
  if (options.lan) {
    cables.push({ ends: [["connector", "eth0"], ["natA", "port1"]], link: "B", kind: "tap" });
  }
  return cables;
}

/** `ip -batch` lines that put a host into one of its networks; also right after its interface was down. */
export function joinNetwork(
  network: HostNetwork,
  families: { v4: boolean; v6: boolean },
): string[] {
  const { interface: dev, v4, v4Prefix, v4Gateway, v6, v6Gateway } = network;
  const lines = [`link set ${dev} up`];
  if (families.v4) {
    lines.push(`addr replace ${v4}/${v4Prefix} dev ${dev}`);
    lines.push(`route replace default via ${v4Gateway} dev ${dev}`);
  }
  if (families.v6) {
    lines.push(`addr replace ${v6}/64 dev ${dev} nodad`);
    lines.push(`route replace default via ${v6Gateway} dev ${dev}`);
  }
  return lines;
}

function uplink(dev: string, addresses: readonly string[], gateway: string, hasV6: boolean) {
  const lines = [`link set ${dev} up`, ...addresses.map((a) => `addr add ${a}/32 dev ${dev}`)];
  lines.push(`route add default via ${gateway} dev ${dev} onlink`);
  if (hasV6) {
    lines.push(`addr add ${DOWNSTREAM_V6}/64 dev ${dev} nodad`);
    lines.push(`route add default via ${UPSTREAM_V6} dev ${dev} onlink`);
  }
  return lines;
}

function relayLines(options: LabOptions): string[] {
  const hasV6 = options.v6 !== "off";
  const lines = uplink("eth0", RELAY.v4, INET_V4, hasV6);
  if (hasV6) lines.push(...RELAY.v6.map((a) => `addr add ${a}/128 dev eth0 nodad`));
  return lines;
}

function inetLines(options: LabOptions): string[] {
  // The internet carries no private addresses; it loses them in silence.
  const lines = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"]
    .map((prefix) => `route add blackhole ${prefix}`);
  lines.push("route add blackhole fc00::/7");
  lines.push(`addr add ${INET_V4}/32 dev lo`, `addr add ${INET_V6}/128 dev lo nodad`);
  const port = (dev: string) => {
    lines.push(`link set ${dev} up`, `addr add ${UPSTREAM_V6}/64 dev ${dev} nodad`);
  };
  port("siteR");
  for (const address of RELAY.v4) lines.push(`route add ${address}/32 dev siteR`);
  lines.push(`route add 2001:db8:10::/48 via ${DOWNSTREAM_V6} dev siteR onlink`);
  for (const { site, kind, publicV4, networks, v6Prefix, hasV6 } of planSites(options)) {
    const dev = `site${site}`;
    port(dev);
    for (const address of publicV4) lines.push(`route add ${address}/32 dev ${dev}`);
    if (kind === "none") {
      for (const { v4Gateway, v4Prefix } of networks) {
        const prefix = v4Gateway.replace(/\d+$/, (last) => String(Number(last) - 1));
        lines.push(`route add ${prefix}/${v4Prefix} via ${publicV4[0]} dev ${dev} onlink`);
      }
    }
    if (hasV6) lines.push(`route add ${v6Prefix} via ${DOWNSTREAM_V6} dev ${dev} onlink`);
  }
  return lines;
}

function natLines(plan: SitePlan, options: LabOptions): string[] {
  const lines: string[] = [];
  if (options.lan) {
    lines.push("link add lan type bridge mcast_snooping 0");
    for (const port of ["port0", "port1"]) lines.push(`link set ${port} up`);
  }
  for (const { port, v4Gateway, v4Prefix, v6Gateway } of plan.networks) {
    lines.push(`link set ${port} up`, `addr add ${v4Gateway}/${v4Prefix} dev ${port}`);
    if (plan.hasV6) lines.push(`addr add ${v6Gateway}/64 dev ${port} nodad`);
  }
  const addresses = plan.isp ? plan.sharedV4 : [plan.publicV4[0], plan.publicV4[2]];
  lines.push(...uplink("wan", addresses, plan.isp ? plan.sharedGateway : INET_V4, plan.hasV6));
  return lines;
}

function ispLines(plan: SitePlan): string[] {
  const lines = ["link set lan up", `addr add ${plan.sharedGateway}/24 dev lan`];
  lines.push(...uplink("wan", [plan.publicV4[0], plan.publicV4[2]], INET_V4, plan.hasV6));
  if (plan.hasV6) {
    lines.push(`addr add ${UPSTREAM_V6}/64 dev lan nodad`);
    lines.push(`route add ${plan.v6Prefix} via ${DOWNSTREAM_V6} dev lan onlink`);
  }
  return lines;
}

/** `ip -batch` lines for every namespace, run once its interfaces exist. */
export function configureNodes(options: LabOptions): Map<NodeName, string[]> {
  const lines = new Map<NodeName, string[]>([
    ["relay", relayLines(options)],
    ["inet", inetLines(options)],
  ]);
  for (const plan of planSites(options)) {
    lines.set(plan.nat, natLines(plan, options));
    if (plan.isp) lines.set(plan.isp, ispLines(plan));
    lines.set(plan.host, joinNetwork(plan.networks[0], { v4: true, v6: plan.hasV6 }));
    if (options.lan) {
      const beside = lanNeighbour(plan.networks[0]);
      lines.set("connector", joinNetwork(beside, { v4: true, v6: plan.hasV6 }));
    }
  }
  for (const of of lines.values()) of.unshift("link set lo up");
  return lines;
}

/**
 * What joins the ports of a LAN lab, once both of their ends are up: a bridge forwards at once to a port that is up
 * when it joins, and lets one that comes up later wait for a second.
 */
export const JOIN_LAN: readonly string[] = [
  "link set port0 master lan",
  "link set port1 master lan",
];

/** Does this namespace pass packets on? */
export function isRouter(node: NodeName): boolean {
  return node === "inet" || node.startsWith("nat") || node.startsWith("isp");
}

/** The site where a host is, `undefined` for the relay. */
export function siteOf(host: HostName): Site | undefined {
  return host === "agent" ? "A" : host === "connector" ? "B" : undefined;
}
