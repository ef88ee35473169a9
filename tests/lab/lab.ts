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
import { buildLab, siteRules } from "./build.ts";
import {
  type EmulatorProcess,
  type LinkCounters,
  readCounters,
  shapeLines,
  tellEmulator,
} from "./emulator.ts";
import { type Finished, QUIET_ENV, runCommand, type RunOptions, setUpNode } from "./namespaces.ts";
import { directCutRuleset } from "./nat_rules.ts";
import type { HostName, LabOptions, LinkName, LinkOptions, NodeName, Site } from "./options.ts";
import {
  type HostNetwork,
  joinNetwork,
  lanNeighbour,
  planSite,
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
      lab.#emulator = await buildLab(record);
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
      env: { ...QUIET_ENV, ...options.env },
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
      for (const [node, nft] of siteRules(this.options, plan, state)) {
        await setUpNode(this.namespace(node), { nft });
      }
      await saveRecord(this.#record);
    });
    this.#changes = done;
    return done;
  }
}
