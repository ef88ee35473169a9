/**
 * How many bytes flows have moved, per service and path: the streams' own counters, read when somebody asks, when a tunnel moves to
 * another path, and when a flow ends. The data path does nothing for it.
 * @module
 */
import type { FlowEnd, UdpDrops } from "../mux/mod.ts";
import type { Tunnel } from "../tunnel/mod.ts";

/** Services that are counted by name; a network has far fewer, and what comes beyond is counted together. */
const MAX_SERVICES = 512;
/** The name under which the rest is counted; no service can be called so. */
const REST = "(other)";

/** Where a flow's tunnel is. */
export type FlowPath = Tunnel["path"];

/** What was moved. Directions as at this end: `out` is what its applications sent. */
export interface FlowTotal {
  readonly service: string;
  readonly path: FlowPath;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

interface Counted {
  bytesIn: number;
  bytesOut: number;
}

interface Followed {
  readonly tunnel: Tunnel;
  path: FlowPath;
  /** What of each live flow is in the totals already. */
  readonly counted: Map<FlowEnd, Counted>;
  unfollow: (() => void) | undefined;
}

/** See the module's head. */
export class FlowLedger {
  readonly #followed = new Map<Tunnel, Followed>();
  readonly #totals = new Map<string, Record<FlowPath, Counted>>();
  readonly #ended = new Map<string, number>();
  #pathChanges = 0;
  #pastDrops: UdpDrops = { queue: 0, backlog: 0, waiting: 0, unknown: 0 };

  /** Counts a tunnel's flows from now on; its direct side exists already. */
  follow(tunnel: Tunnel): void {
    const followed: Followed = {
      tunnel,
      path: tunnel.path,
      counted: new Map(),
      unfollow: undefined,
    };
    followed.unfollow = tunnel.direct?.onChange(() => {
      // What was moved until now went the old way.
      for (const flow of tunnel.mux.flows.values()) this.#settle(followed, flow);
      followed.path = tunnel.path;
      this.#pathChanges++;
    });
    tunnel.mux.onFlowEnd = (flow) => {
      this.#settle(followed, flow);
      followed.counted.delete(flow);
      if (!flow.carried) return;
      const service = this.#nameOf(flow);
      this.#ended.set(service, (this.#ended.get(service) ?? 0) + 1);
    };
    this.#followed.set(tunnel, followed);
  }

  /** The tunnel is over; flows that still end are counted. */
  forget(tunnel: Tunnel): void {
    const followed = this.#followed.get(tunnel);
    if (!followed) return;
    followed.unfollow?.();
    this.#pastDrops = addDrops(this.#pastDrops, tunnel.mux.udpDrops);
    this.#followed.delete(tunnel);
  }

  /** Packets of UDP flows that were dropped at this end, by reason. */
  get udpDrops(): UdpDrops {
    return this.#followed.keys().reduce(
      (sum, tunnel) => addDrops(sum, tunnel.mux.udpDrops),
      this.#pastDrops,
    );
  }

  /** How often tunnels have moved to another path. */
  get pathChanges(): number {
    return this.#pathChanges;
  }

  /** Tunnels that are followed. */
  get tunnels(): Iterable<Tunnel> {
    return this.#followed.keys();
  }

  /** Flows that have ended, per service. */
  get ended(): ReadonlyMap<string, number> {
    return this.#ended;
  }

  /** Everything until now. */
  totals(): FlowTotal[] {
    for (const followed of this.#followed.values()) {
      for (const flow of followed.tunnel.mux.flows.values()) this.#settle(followed, flow);
    }
    return [...this.#totals].flatMap(([service, paths]) =>
      (["direct", "relayed"] as const).map((path) => ({ service, path, ...paths[path] }))
    );
  }

  #settle({ path, counted }: Followed, flow: FlowEnd): void {
    if (!flow.carried) return;
    const { bytesIn, bytesOut } = flow;
    const before = counted.get(flow) ?? { bytesIn: 0, bytesOut: 0 };
    counted.set(flow, { bytesIn, bytesOut });
    const service = this.#nameOf(flow);
    let total = this.#totals.get(service);
    if (!total) {
      total = { direct: { bytesIn: 0, bytesOut: 0 }, relayed: { bytesIn: 0, bytesOut: 0 } };
      this.#totals.set(service, total);
    }
    total[path].bytesIn += bytesIn - before.bytesIn;
    total[path].bytesOut += bytesOut - before.bytesOut;
  }

  #nameOf({ info: { service } }: FlowEnd): string {
    const known = this.#totals.has(service) || this.#ended.has(service);
    return known || this.#totals.size < MAX_SERVICES ? service : REST;
  }
}

function addDrops(a: Readonly<UdpDrops>, b: Readonly<UdpDrops>): UdpDrops {
  return {
    queue: a.queue + b.queue,
    backlog: a.backlog + b.backlog,
    waiting: a.waiting + b.waiting,
    unknown: a.unknown + b.unknown,
  };
}
