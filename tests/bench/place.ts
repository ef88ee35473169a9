/**
 * Where a benchmark plays: a lab's hosts, or three in a row, either all this machine's loopback, or network namespaces joined by
 * veth pairs with an MTU of 1500.
 *
 * ```
 * agent 10.77.1.2 --veth-- relay 10.77.0.1 (routes between them) --veth-- 10.77.2.2 connector
 * ```
 * @module
 */
import { findProgram, isLinuxRoot } from "../e2e/paths.ts";
import { TestProcess } from "../e2e/process.ts";
import { type Lab, RELAY } from "../lab/mod.ts";
import { mustRun, removeNamespaces, setUpNode } from "../lab/namespaces.ts";

/** The three hosts. */
export type HostName = "agent" | "relay" | "connector";

/** How to start something on a host. */
export interface StartOptions {
  readonly env?: Readonly<Record<string, string>>;
}

/** Hosts on which programs can be started, and are ended. */
export class Hosts {
  readonly addresses: Readonly<Record<HostName, string>>;
  readonly #namespaces: Readonly<Record<HostName, string>> | undefined;
  readonly #processes: TestProcess[] = [];

  /** Without namespaces all are this machine. */
  constructor(
    addresses: Readonly<Record<HostName, string>>,
    namespaces?: Readonly<Record<HostName, string>>,
  ) {
    this.addresses = addresses;
    this.#namespaces = namespaces;
  }

  /** A lab's, which the lab removes. */
  static inLab(lab: Lab): Hosts {
    return new Hosts(
      {
        agent: lab.addresses("agent").v4,
        relay: RELAY.v4[0],
        connector: lab.addresses("connector").v4,
      },
      {
        agent: lab.namespace("agent"),
        relay: lab.namespace("relay"),
        connector: lab.namespace("connector"),
      },
    );
  }

  /** The command line that runs `words` on a host. */
  wrap(host: HostName, words: readonly string[]): string[] {
    const namespace = this.#namespaces?.[host];
    return namespace ? ["ip", "netns", "exec", namespace, ...words] : [...words];
  }

  /** Starts a process on a host; it ends with {@linkcode stop}. */
  start(
    host: HostName,
    title: string,
    words: readonly string[],
    options: StartOptions = {},
  ): TestProcess {
    const [command, ...args] = this.wrap(host, words);
    const process = new TestProcess({ title, command: command!, args, env: { ...options.env } });
    this.#processes.push(process);
    return process;
  }

  /** All that the processes have said, for a failure's message. */
  logs(): string {
    return this.#processes.map((process) => `---- ${process.title}\n${process.output()}`).join(
      "\n",
    );
  }

  async stop(): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.stop("SIGTERM", 3_000)));
  }
}

/** Three hosts in a row. */
export class Place extends Hosts implements AsyncDisposable {
  readonly title: string;
  readonly #own: readonly string[];

  private constructor(
    title: string,
    addresses: Record<HostName, string>,
    namespaces?: Record<HostName, string>,
  ) {
    super(addresses, namespaces);
    this.title = title;
    this.#own = Object.values(namespaces ?? {});
  }

  /** All three are this machine. */
  static loopback(): Place {
    const address = "127.0.0.1";
    return new Place("loopback", { agent: address, relay: address, connector: address });
  }

  /** Why {@linkcode Place.veth} cannot be had here; `undefined` where it can. */
  static vethUnavailable(): string | undefined {
    if (!isLinuxRoot()) return "it needs Linux and root (network namespaces)";
    return findProgram("ip") ? undefined : 'it needs the command "ip" (Debian package iproute2)';
  }

  /** Three network namespaces of its own; removed at the end. */
  static async veth(): Promise<Place> {
    const prefix = `pb-${Deno.pid}`;
    const name = (host: HostName) => `${prefix}-${host}`;
    const namespaces = { agent: name("agent"), relay: name("relay"), connector: name("connector") };
    const addresses = { agent: "10.77.1.2", relay: "10.77.0.1", connector: "10.77.2.2" };
    const place = new Place("veth, MTU 1500", addresses, namespaces);
    try {
      for (const namespace of Object.values(namespaces)) {
        await mustRun("ip", ["netns", "add", namespace]);
      }
      for (const [host, net] of [["agent", 1], ["connector", 2]] as const) {
        const pair = ["link", "add", "up0", "netns", namespaces[host], "mtu", "1500"];
        const peer = ["type", "veth", "peer", "name", host, "netns", namespaces.relay];
        await mustRun("ip", [...pair, ...peer, "mtu", "1500"]);
        await setUpNode(namespaces[host], {
          ip: [
            "link set lo up",
            "link set up0 up",
            `addr add 10.77.${net}.2/24 dev up0`,
            `route add default via 10.77.${net}.1`,
          ],
        });
      }
      await setUpNode(namespaces.relay, {
        sysctls: [["ipv4/ip_forward", 1]],
        ip: [
          "link set lo up",
          "addr add 10.77.0.1/32 dev lo",
          "link set agent up",
          "link set connector up",
          "addr add 10.77.1.1/24 dev agent",
          "addr add 10.77.2.1/24 dev connector",
        ],
      });
      return place;
    } catch (error) {
      await place[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    if (this.#own.length > 0) await removeNamespaces(this.#own);
  }
}
