/**
 * Builds what a plan says: namespaces, cables, addresses, rules.
 * @module
 */
import { type EmulatorProcess, shapeLines, startEmulator, tellEmulator } from "./emulator.ts";
import { ipBatch, listNamespaces, type NodeSetup, runCommand, setUpNode } from "./namespaces.ts";
import { cutRuleset, natRuleset } from "./nat_rules.ts";
import type { LabOptions, LinkOptions, NodeName } from "./options.ts";
import {
  cablesOf,
  configureNodes,
  isRouter,
  JOIN_LAN,
  nodesOf,
  planSites,
  type SitePlan,
} from "./plan.ts";
import {
  identifyProcess,
  type LabRecord,
  linkSocket,
  namespaceOf,
  saveRecord,
  type SiteState,
} from "./record.ts";

/** In a LAN lab the agent and the connector are this far apart, one way: 1 ms there and back. */
const LAN_LINK: LinkOptions = { delayMs: 0.5 };

/** The rules of a site's boxes, for `nft -f` in each. */
export function siteRules(
  options: LabOptions,
  plan: SitePlan,
  state: SiteState,
): Map<NodeName, string> {
  const { zone, portMask, moved } = state;
  const timeoutSeconds = options.udpStreamTimeoutSeconds ?? 120;
  const outer: readonly string[] = [plan.publicV4[moved ? 1 : 0], plan.publicV4[2]];
  // The network to roam to comes first: the other rule takes all the rest.
  const sources = (inner: string, to: readonly string[]) => [
    { from: inner, to: to[1]! },
    { from: "0.0.0.0/0", to: to[0]! },
  ];
  const v6Firewall = (options.v6 ?? "firewall") !== "open";
  const second = plan.networks[1].v4Gateway.replace(/\d+$/, "0/24");
  const home = natRuleset({
    kind: plan.kind,
    sources: sources(second, plan.isp ? plan.sharedV4 : outer),
    // Behind a provider's NAT it is that one which forgets and shifts.
    zone: plan.isp ? 1 : zone,
    portMask: plan.isp ? 0 : portMask,
    timeoutSeconds,
    v6Firewall,
  });
  const cuts = cutRuleset({ udp: state.udpCut, v6: state.v6Cut });
  const rules = new Map<NodeName, string>([[plan.nat, home + cuts]]);
  if (plan.isp) {
    rules.set(
      plan.isp,
      natRuleset({
        kind: "port-restricted",
        sources: sources(plan.sharedV4[1], outer),
        zone,
        portMask,
        timeoutSeconds,
        v6Firewall: false,
      }),
    );
  }
  return rules;
}

/**
 * Makes all of a lab; its record is complete when this resolves.
 *
 * @throws {Error} saying what failed; what was made is still there, for `removeLab`
 */
export async function buildLab(record: LabRecord): Promise<EmulatorProcess | undefined> {
  const { options } = record;
  const space = (node: NodeName) => namespaceOf(record.id, node);
  const nodes = nodesOf(options);
  const taken = new Set(await listNamespaces());
  for (const node of nodes) {
    if (taken.has(space(node))) {
      throw new Error(`Cannot make lab "${record.id}" as namespace ${space(node)} exists`);
    }
  }
  // Not in one batch: "ip netns add" would leave the next ones inside the first on older versions.
  await Promise.all(nodes.map((node) => ipNetnsAdd(space(node))));
  const emulator = await layCables(record);
  const rules = new Map<NodeName, string>();
  for (const plan of planSites(options)) {
    const state = record.sites[plan.site];
    state.v6Cut = options.v6 === `broken-${plan.site.toLowerCase()}`;
    for (const [node, nft] of siteRules(options, plan, state)) rules.set(node, nft);
  }
  const ip = configureNodes(options);
  const setups = nodes.map((node): [NodeName, NodeSetup] => [node, {
    sysctls: sysctls(options, node),
    ip: ip.get(node) ?? [],
    ...(rules.has(node) ? { nft: rules.get(node)! } : {}),
  }]);
  await Promise.all(setups.map(([node, setup]) => setUpNode(space(node), setup)));
  if (options.lan) await setUpNode(space("natA"), { ip: JOIN_LAN });
  await saveRecord(record);
  return emulator;
}

async function layCables(record: LabRecord): Promise<EmulatorProcess | undefined> {
  const { options } = record;
  const space = (node: NodeName) => namespaceOf(record.id, node);
  const pairs: string[] = [];
  const links: string[] = [];
  for (const { ends: [[a, aDev], [b, bDev]], link, kind } of cablesOf(options)) {
    const [aSpace, bSpace] = [space(a), space(b)];
    if (link !== undefined && options.wire !== "plain") {
      links.push(
        `${link}:${kind}:${options.mtu ?? 1500}:${aSpace}/${aDev}:${bSpace}/${bDev}`,
      );
    } else {
      pairs.push(
        `link add ${aDev} netns ${aSpace} type veth peer name ${bDev} netns ${bSpace}`,
      );
    }
  }
  await ipBatch(pairs);
  if (links.length === 0) return undefined;
  const { seed, detached } = options;
  const emulator = await startEmulator(linkSocket(record.id), links, {
    ...(seed === undefined ? {} : { seed }),
    ...(detached === undefined ? {} : { detached }),
  });
  record.emulator = identifyProcess(emulator.pid) ?? null;
  const linkB = options.lan ? { ...LAN_LINK, ...options.linkB } : options.linkB;
  const common = options.link ?? {};
  const lines = [
    ...shapeLines("A", { ...common, ...options.linkA }),
    ...shapeLines("B", options.lan ? { ...linkB } : { ...common, ...linkB }),
    ...shapeLines("R", { ...common, ...options.linkR }),
  ];
  await tellEmulator(linkSocket(record.id), lines);
  return emulator;
}

function sysctls(options: LabOptions, node: NodeName): [string, string | number][] {
  const { udpTimeoutSeconds, udpStreamTimeoutSeconds } = options;
  const settings: [string, string | number][] = [
    // An address is usable at once: nobody else can have it here.
    ["ipv6/conf/all/accept_dad", 0],
    ["ipv6/conf/default/accept_dad", 0],
    ["ipv6/conf/default/accept_ra", 0],
  ];
  if (isRouter(node)) {
    settings.push(
      ["ipv4/ip_forward", 1],
      ["ipv6/conf/all/forwarding", 1],
      ["ipv4/conf/all/rp_filter", 0],
      ["ipv4/conf/default/rp_filter", 0],
    );
  }
  if (node.startsWith("nat") || node.startsWith("isp")) {
    settings.push(
      ["netfilter/nf_conntrack_udp_timeout", udpTimeoutSeconds ?? 30],
      ["netfilter/nf_conntrack_udp_timeout_stream", udpStreamTimeoutSeconds ?? 120],
    );
  }
  return settings;
}

async function ipNetnsAdd(name: string): Promise<void> {
  const { code, stderr } = await runCommand("ip", ["netns", "add", name]);
  if (code !== 0) throw new Error(`Cannot make namespace ${name}: ${stderr.trim()}`);
}
