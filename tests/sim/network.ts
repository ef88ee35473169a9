/**
 * A simulated internet: sites with middleboxes around it, hosts in the sites, and links that delay, lose, repeat and
 * reorder packets.
 * @module
 */
import type { Address } from "../../src/core/address.ts";
import type { Millis } from "../../src/core/clock.ts";
import type { Middlebox } from "./nat.ts";
import type { SeededRandom } from "./random.ts";
import { Scheduler } from "./scheduler.ts";

/** One site's link to the internet, each way. Changed while it runs. */
export interface Link {
  /** One way. */
  delay: Millis;
  /** Up to this much more, at random, so packets overtake each other. */
  jitter: Millis;
  /** Share of packets lost. */
  loss: number;
  /** Share of packets that arrive twice. */
  duplicate: number;
  /** Largest UDP payload; larger packets vanish. */
  mtu: number;
  /** Nothing passes. */
  down: boolean;
}

/** A link with these properties and no others. */
export function linkOf(options: Partial<Link> = {}): Link {
  return { delay: 10, jitter: 0, loss: 0, duplicate: 0, mtu: 1472, down: false, ...options };
}

/** Takes a datagram that arrived. */
export type Receiver = (datagram: Uint8Array, from: Address) => void;

/** A site: some hosts behind the same middleboxes. */
export class Site {
  readonly name: string;
  link: Link;
  /** From the inside out (two NATs in a row: a carrier's outside the home's); none for a family: no such family. */
  boxes: { v4: Middlebox[] | undefined; v6: Middlebox[] | undefined };
  /** Address key (host and port) to whoever listens there. */
  readonly listeners = new Map<string, Receiver>();
  /** IPv6 is there but leads nowhere. */
  brokenV6 = false;

  constructor(
    name: string,
    options: { link?: Link; v4?: Middlebox[] | undefined; v6?: Middlebox[] | undefined },
  ) {
    this.name = name;
    this.link = options.link ?? linkOf();
    this.boxes = { v4: options.v4, v6: options.v6 };
  }
}

/** What crossed the network, counted. */
export interface Traffic {
  packets: number;
  bytes: number;
}

const LAN_DELAY_MS: Millis = 0.5;

/** The simulated internet. */
export class Network {
  readonly scheduler = new Scheduler();
  readonly random: SeededRandom;
  /** Public host (an address without port) to the site that it leads to. */
  readonly #owners = new Map<string, Site>();
  /** Packets sent by each site. */
  readonly sent = new Map<string, Traffic>();
  /** Sees every packet that a site puts on the wire: attackers listen here. */
  tap: ((from: Address, to: Address, datagram: Uint8Array) => void) | undefined;

  constructor(random: SeededRandom) {
    this.random = random;
  }

  /** Packets to this public host go to that site from now on. */
  own(host: string, site: Site): void {
    this.#owners.set(host, site);
  }

  disown(host: string): void {
    this.#owners.delete(host);
  }

  /** Sends from a host in a site. */
  send(site: Site, packet: { from: Address; to: Address; datagram: Uint8Array }): void {
    const { from, to, datagram } = packet;
    const counted = this.sent.get(site.name) ?? { packets: 0, bytes: 0 };
    counted.packets++;
    counted.bytes += datagram.length;
    this.sent.set(site.name, counted);
    const neighbour = site.listeners.get(to.key);
    if (neighbour) {
      this.scheduler.after(LAN_DELAY_MS, () => site.listeners.get(to.key)?.(datagram, from));
      return;
    }
    const boxes = from.family === 4 ? site.boxes.v4 : site.boxes.v6;
    if (!boxes || (from.family === 6 && site.brokenV6)) return;
    let source: Address | undefined = from;
    for (const box of boxes) {
      source = box.outbound(source, to, this.scheduler.now());
      if (!source) return;
    }
    this.inject(site, { from: source, to, datagram });
  }

  /** Puts a packet on the wire as if it came from `from`, through the link of `site`: forgers use this directly. */
  inject(site: Site, packet: { from: Address; to: Address; datagram: Uint8Array }): void {
    const { from, to, datagram } = packet;
    this.tap?.(from, to, datagram);
    const target = this.#owners.get(to.host);
    // No hairpin: what leaves a site does not come back in.
    if (!target || target === site) return;
    const copies = this.random.next() < site.link.duplicate ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      const delay = this.#cross(site.link, datagram) + this.#cross(target.link, datagram);
      if (delay === Infinity) continue;
      this.scheduler.after(delay, () => this.#arrive(target, packet));
    }
  }

  #cross(link: Link, datagram: Uint8Array): Millis {
    const lost = link.down || datagram.length > link.mtu || this.random.next() < link.loss;
    return lost ? Infinity : link.delay + this.random.next() * link.jitter;
  }

  #arrive(
    site: Site,
    { from, to, datagram }: { from: Address; to: Address; datagram: Uint8Array },
  ): void {
    const boxes = to.family === 4 ? site.boxes.v4 : site.boxes.v6;
    if (!boxes || site.link.down || (to.family === 6 && site.brokenV6)) return;
    let inside: Address | undefined = to;
    for (const box of boxes.toReversed()) {
      inside = box.inbound(from, inside, this.scheduler.now());
      if (!inside) return;
    }
    site.listeners.get(inside.key)?.(datagram, from);
  }
}
