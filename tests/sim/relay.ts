/**
 * The simulated relay: observes on two ports, and carries messages between clients (the relayed path: reliable while both
 * links are up, as the tunnel over it would be).
 * @module
 */
import { type Address, addressOf } from "../../src/core/address.ts";
import { answerObserve, ObserveKeyRing } from "../../src/qad/mod.ts";
import { linkOf, type Network, Site } from "./network.ts";
import { quickMac } from "./quick_mac.ts";

const V4 = "203.0.113.1";
const V6 = "2001:db8:ff::1";
const PORTS = [4433, 4434] as const;

/** The relay. */
export class SimRelay {
  readonly site: Site;
  readonly keys = new ObserveKeyRing({ mac: quickMac });
  /** What a client's discovery asks, main targets first. */
  readonly targets: readonly Address[] = [V6, V4].flatMap((host) =>
    PORTS.map((port) => addressOf(host, port))
  );
  #network: Network;

  constructor(network: Network) {
    this.#network = network;
    this.site = new Site("relay", { v4: [], v6: [], link: linkOf({ delay: 10 }) });
    network.own(V4, this.site);
    network.own(V6, this.site);
    this.keys.rotate(network.random.bytes(32));
    for (const target of this.targets) {
      this.site.listeners.set(target.key, (datagram, from) => this.#answer(target, datagram, from));
    }
  }

  /** Carries a message from one site to another, as the tunnel would over the relayed path. */
  carry(from: Site, to: Site, deliver: () => void): void {
    const { scheduler } = this.#network;
    const links = [from.link, this.site.link, to.link];
    if (links.some(({ down }) => down)) {
      scheduler.after(200, () => this.carry(from, to, deliver));
      return;
    }
    const delay = from.link.delay + 2 * this.site.link.delay + to.link.delay;
    scheduler.after(delay, deliver);
  }

  #answer(asked: Address, datagram: Uint8Array, from: Address): void {
    const answer = answerObserve(datagram, from, { keys: this.keys, mac: quickMac });
    if (answer.type === "drop") return;
    const other = PORTS.find((port) => port !== asked.port)!;
    const source = answer.fromOtherPort ? addressOf(asked.host, other) : asked;
    this.#network.send(this.site, { from: source, to: from, datagram: answer.datagram });
  }
}
