/**
 * A laboratory of bad networks: relay, agent behind NAT A, connector behind NAT B, each in its own network namespace,
 * joined by links that delay, lose and reorder. Root and Linux only; see `requirements.ts`.
 *
 * ```ts
 * await using lab = await Lab.create({ a: "port-restricted", b: "symmetric", link: { delayMs: 10 } });
 * await lab.exec("agent", "ping", ["-c1", RELAY.v4[0]]);
 * ```
 * @module
 */
import process from "node:process";
import { type EmulatorProcess, shapeLines, startEmulator, tellEmulator } from "./emulator.ts";
import { type LinkCounters, readCounters } from "./emulator.ts";
import {
  type Finished,
  ipBatch,
  listNamespaces,
  type NodeSetup,
  runCommand,
  type RunOptions,
  setUpNode,
} from "./namespaces.ts";
import { cutRuleset, directCutRuleset, natRuleset } from "./nat_rules.ts";
import type { HostName, LabOptions, LinkName, LinkOptions, NodeName, Site } from "./options.ts";
import {
  cablesOf,
  configureNodes,
  type HostNetwork,
  isRouter,
  JOIN_LAN,
  joinNetwork,
  lanNeighbour,
  nodesOf,
  planSite,
  planSites,
  RELAY,
  type SitePlan,
} from "./plan.ts";
import {
  claimId,
  identifyProcess,
  type LabRecord,
  linkSocket,
  listRecords,
  loadRecord,
  namespaceOf,
  removeLab,
  removeStaleLabs,
  saveRecord,
  type SiteState,
} from "./record.ts";

/** In a LAN lab the agent and the connector are this far apart, one way: 1 ms there and back. */
const LAN_LINK: LinkOptions = { delayMs: 0.5 };

/** Where a host is, as seen by itself and by the internet. */
export interface HostAddresses {
  readonly interface: string;
  readonly v4: string;
  readonly v6: string | undefined;
  /** After translation. */
  readonly publicV4: string;
}

function freshSite(): SiteState {
  return {
    zone: 1,
    // Any mask that moves ports will do; a different one each time keeps tests from counting on it.
    portMask: 1 + Math.floor(Math.random() * 1023),
    moved: false,
    roamed: false,
    udpCut: [],
    v6Cut: false,
  };
}

/** One lab. */
export class Lab {
  #record: LabRecord;
  #emulator: EmulatorProcess | undefined;
  #destroyed: Promise<void> | undefined;
  /** The order of changes is the order of calls. */
  #changes: Promise<unknown> = Promise.resolve();

  private constructor(record: LabRecord) {
    this.#record = record;
  }

  /**
   * Makes a lab; it is ready for traffic when this resolves. Removes labs of processes that died, first.
   *
   * @throws {Error} saying what failed; nothing is left behind
   */
  static async create(options: LabOptions = {}, { id }: { id?: string } = {}): Promise<Lab> {
    await removeStaleLabs();
    const owner = options.detached ? null : identifyProcess(process.pid)!;
    const record: LabRecord = {
      id: await claimId(id),
      options,
      owner,
      emulator: null,
      sites: { A: freshSite(), B: freshSite() },
    };
    const lab = new Lab(record);
    try {
      await saveRecord(record);
      await lab.#build();
      return lab;
    } catch (error) {
      await lab.destroy();
      throw error;
    }
  }

  /**
   * A lab that another process made (`detached`).
   *
   * @throws {Error} where there is none of that name
   */
  static async attach(id: string): Promise<Lab> {
    return new Lab(await loadRecord(id));
  }

  /** Names and options of all labs of this machine. */
  static async list(): Promise<readonly { id: string; options: LabOptions }[]> {
    return await listRecords();
  }

  /** Its name; its namespaces are `pl-ID-NODE`. */
  get id(): string {
    return this.#record.id;
  }

  /** What it was made with. */
  get options(): LabOptions {
    return this.#record.options;
  }

  /** The namespace of a node, for tools that want it by name. */
  namespace(node: NodeName): string {
    return namespaceOf(this.id, node);
  }

  /** Where a host is now. */
  addresses(host: HostName): HostAddresses {
    if (host === "relay") {
      const v6 = this.options.v6 === "off" ? undefined : RELAY.v6[0];
      return { interface: "eth0", v4: RELAY.v4[0], v6, publicV4: RELAY.v4[0] };
    }
    const { plan, network, state } = this.#place(host);
    const moved = state.moved && !state.roamed && plan.kind !== "none";
    const v6 = plan.hasV6 ? network.v6 : undefined;
    const publicV4 = plan.kind === "none"
      ? network.v4
      : moved
      ? plan.publicV4[1]
      : plan.publicV4[state.roamed ? 2 : 0];
    return { interface: network.interface, v4: network.v4, v6, publicV4 };
  }

  /** Runs a command in a node to its end, whatever its exit code. */
  exec(
    node: NodeName,
    command: string,
    args: readonly string[] = [],
    options: RunOptions = {},
  ): Promise<Finished> {
    return runCommand("ip", ["netns", "exec", this.namespace(node), command, ...args], options);
  }

  /**
   * Starts a command in a node. Its pid is the command's own, so that signals reach it. Whoever starts it reads its
   * pipes and awaits its end; {@linkcode destroy} kills what is left.
   */
  spawn(
    node: NodeName,
    command: string,
    args: readonly string[] = [],
    options: Omit<Deno.CommandOptions, "args"> = {},
  ): Deno.ChildProcess {
    return new Deno.Command("ip", {
      stdin: "null",
      ...options,
      args: ["netns", "exec", this.namespace(node), command, ...args],
    }).spawn();
  }

  /** Changes a link now; fields left out stay. @throws {Error} where `wire` is `plain` or a value is out of range */
  async setLink(link: LinkName, shape: LinkOptions): Promise<void> {
    if (this.options.wire === "plain") {
      throw new Error(`Cannot change link ${link} as this lab has plain wires`);
    }
    await tellEmulator(linkSocket(this.id), shapeLines(link, shape));
  }

  /** Counters of every link and direction since the start: `A out`, `A in`, `B out`, …. */
  linkCounters(): Promise<Map<string, LinkCounters>> {
    return readCounters(linkSocket(this.id));
  }

  /** The outermost NAT forgets every mapping and uses other ports from now on. */
  rebind(site: Site): Promise<void> {
    return this.#change(site, (state) => {
      state.zone++;
      state.portMask = state.portMask % 1023 + 1;
    });
  }

  /** The site's public IPv4 address becomes another one, and back at the next call; mappings are lost as well. */
  changeAddress(site: Site): Promise<void> {
    const plan = this.#plan(site);
    if (plan.kind === "none") {
      return Promise.reject(
        new Error(`Cannot change the address of site ${site}: no NAT holds it`),
      );
    }
    return this.#change(site, async (state) => {
      const next = state.moved ? 0 : 1;
      const dev = "dev wan";
      await setUpNode(this.namespace(plan.isp ?? plan.nat), {
        ip: [
          `addr add ${plan.publicV4[next]}/32 ${dev}`,
          `addr del ${plan.publicV4[1 - next]}/32 ${dev}`,
        ],
      });
      state.moved = !state.moved;
      state.zone++;
    });
  }

  /** Loses UDP from and to this local port of the site's host, or all of it; adds to what is blocked. */
  blockUdp(site: Site, { port }: { port?: number } = {}): Promise<void> {
    return this.#change(site, (state) => {
      if (port === undefined || state.udpCut === "all") state.udpCut = "all";
      else state.udpCut = [...new Set([...state.udpCut, port])];
    });
  }

  /** Undoes every {@linkcode blockUdp} of a site. */
  unblockUdp(site: Site): Promise<void> {
    return this.#change(site, (state) => {
      state.udpCut = [];
    });
  }

  /** Loses all IPv6 at the site's router; hosts keep their addresses and routes. */
  dropV6(site: Site): Promise<void> {
    return this.#change(site, (state) => {
      state.v6Cut = true;
    });
  }

  /** Undoes {@linkcode dropV6}, and `broken-a` or `broken-b`. */
  restoreV6(site: Site): Promise<void> {
    return this.#change(site, (state) => {
      state.v6Cut = false;
    });
  }

  /** Loses everything between the sites; both still reach the relay. */
  async cutDirect(): Promise<void> {
    await setUpNode(this.namespace("inet"), { nft: directCutRuleset(true) });
  }

  /** Undoes {@linkcode cutDirect}. */
  async healDirect(): Promise<void> {
    await setUpNode(this.namespace("inet"), { nft: directCutRuleset(false) });
  }

  /** The host's interface goes down: its addresses and routes go with it. */
  async interfaceDown(host: "agent" | "connector"): Promise<void> {
    const { network } = this.#place(host);
    await setUpNode(this.namespace(host), { ip: [`link set ${network.interface} down`] });
  }

  /** Undoes {@linkcode interfaceDown}. */
  async interfaceUp(host: "agent" | "connector"): Promise<void> {
    const { network, plan } = this.#place(host);
    const ip = joinNetwork(network, { v4: true, v6: plan.hasV6 });
    await setUpNode(this.namespace(host), { ip });
  }

  /**
   * The host leaves its network for the site's other one (another interface, other addresses, another public
   * address), and back at the next call.
   *
   * @param families what the network that it enters has. @default IPv4, and IPv6 where the site has it
   */
  async roam(
    host: "agent" | "connector",
    families: { v4?: boolean; v6?: boolean } = {},
  ): Promise<void> {
    if (this.options.lan && host === "connector") {
      throw new Error("Cannot let the connector of a LAN lab roam as it has one interface");
    }
    const before = this.#place(host);
    const site = before.plan.site;
    await this.#change(site, (state) => {
      state.roamed = !state.roamed;
    });
    const { network, plan } = this.#place(host);
    const wanted = { v4: families.v4 ?? true, v6: (families.v6 ?? true) && plan.hasV6 };
    await setUpNode(this.namespace(host), {
      ip: [`link set ${before.network.interface} down`, ...joinNetwork(network, wanted)],
    });
  }

  /** Ends every process of the lab and removes its namespaces. Safe to call again, and after a failure. */
  destroy(): Promise<void> {
    this.#destroyed ??= (async () => {
      await this.#changes.catch(() => {});
      await removeLab({ ...this.#record, emulator: this.#emulator ? null : this.#record.emulator });
      await this.#emulator?.stop();
    })();
    return this.#destroyed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.destroy();
  }

  // ---- inside ----

  #plan(site: Site): SitePlan {
    if (this.options.lan && site === "B") {
      throw new Error("Cannot change site B as a LAN lab has site A only");
    }
    return planSite(site, this.options);
  }

  #place(host: "agent" | "connector"): { plan: SitePlan; network: HostNetwork; state: SiteState } {
    const lan = this.options.lan === true;
    const site = host === "agent" || lan ? "A" : "B";
    const plan = planSite(site, this.options);
    const state = this.#record.sites[site];
    if (lan && host === "connector") {
      const network = lanNeighbour(plan.networks[0]);
      return { plan, network, state: { ...state, roamed: false } };
    }
    return { plan, network: plan.networks[state.roamed ? 1 : 0], state };
  }

  /** Changes what is known of a site, then the rules of its boxes to match, one change after the other. */
  #change(site: Site, change: (state: SiteState) => void | Promise<void>): Promise<void> {
    const plan = this.#plan(site);
    const done = this.#changes.catch(() => {}).then(async () => {
      const state = this.#record.sites[site];
      await change(state);
      for (const [node, nft] of this.#rules(plan, state)) {
        await setUpNode(this.namespace(node), { nft });
      }
      await saveRecord(this.#record);
    });
    this.#changes = done;
    return done;
  }

  #rules(plan: SitePlan, state: SiteState): Map<NodeName, string> {
    const { zone, portMask, moved } = state;
    const timeoutSeconds = this.options.udpStreamTimeoutSeconds ?? 120;
    const outer: readonly string[] = [plan.publicV4[moved ? 1 : 0], plan.publicV4[2]];
    // The network to roam to comes first: the other rule takes all the rest.
    const sources = (inner: string, to: readonly string[]) => [
      { from: inner, to: to[1]! },
      { from: "0.0.0.0/0", to: to[0]! },
    ];
    const v6Firewall = (this.options.v6 ?? "firewall") !== "open";
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

  async #build(): Promise<void> {
    const { options } = this;
    const nodes = nodesOf(options);
    const taken = new Set(await listNamespaces());
    for (const node of nodes) {
      if (taken.has(this.namespace(node))) {
        throw new Error(`Cannot make lab "${this.id}" as namespace ${this.namespace(node)} exists`);
      }
    }
    // Not in one batch: "ip netns add" would leave the next ones inside the first on older versions.
    await Promise.all(nodes.map((node) => ipNetnsAdd(this.namespace(node))));
    await this.#layCables();
    const rules = new Map<NodeName, string>();
    for (const plan of planSites(options)) {
      const state = this.#record.sites[plan.site];
      state.v6Cut = options.v6 === `broken-${plan.site.toLowerCase()}`;
      for (const [node, nft] of this.#rules(plan, state)) rules.set(node, nft);
    }
    const ip = configureNodes(options);
    const setups = nodes.map((node): [NodeName, NodeSetup] => [node, {
      sysctls: this.#sysctls(node),
      ip: ip.get(node) ?? [],
      ...(rules.has(node) ? { nft: rules.get(node)! } : {}),
    }]);
    await Promise.all(setups.map(([node, setup]) => setUpNode(this.namespace(node), setup)));
    if (options.lan) await setUpNode(this.namespace("natA"), { ip: JOIN_LAN });
    await saveRecord(this.#record);
  }

  async #layCables(): Promise<void> {
    const { options } = this;
    const pairs: string[] = [];
    const links: string[] = [];
    for (const { ends: [[a, aDev], [b, bDev]], link, kind } of cablesOf(options)) {
      const [aSpace, bSpace] = [this.namespace(a), this.namespace(b)];
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
    if (links.length === 0) return;
    const { seed, detached } = options;
    this.#emulator = await startEmulator(linkSocket(this.id), links, {
      ...(seed === undefined ? {} : { seed }),
      ...(detached === undefined ? {} : { detached }),
    });
    this.#record.emulator = identifyProcess(this.#emulator.pid) ?? null;
    const linkB = options.lan ? { ...LAN_LINK, ...options.linkB } : options.linkB;
    const common = options.link ?? {};
    const lines = [
      ...shapeLines("A", { ...common, ...options.linkA }),
      ...shapeLines("B", options.lan ? { ...linkB } : { ...common, ...linkB }),
      ...shapeLines("R", { ...common, ...options.linkR }),
    ];
    await tellEmulator(linkSocket(this.id), lines);
  }

  #sysctls(node: NodeName): [string, string | number][] {
    const { udpTimeoutSeconds, udpStreamTimeoutSeconds } = this.options;
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
}

async function ipNetnsAdd(name: string): Promise<void> {
  const { code, stderr } = await runCommand("ip", ["netns", "add", name]);
  if (code !== 0) throw new Error(`Cannot make namespace ${name}: ${stderr.trim()}`);
}
