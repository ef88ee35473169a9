/**
 * Simulated NATs as RFC 4787 describes them, mapping × filtering, and stateful firewalls for IPv6.
 * @module
 */
import { type Address, addressOf } from "../../src/core/address.ts";
import type { Millis } from "../../src/core/clock.ts";
import type { FilteringBehaviour, MappingBehaviour } from "../../src/qad/mod.ts";
import type { SeededRandom } from "./random.ts";

/** Something between a site and the internet. */
export interface Middlebox {
  /** The packet's source as the internet sees it; `undefined` drops it. */
  outbound(from: Address, to: Address, now: Millis): Address | undefined;
  /** Where inside a packet from the internet goes; `undefined` drops it. */
  inbound(from: Address, to: Address, now: Millis): Address | undefined;
  /** Forgets everything, as after a restart. */
  reset(): void;
}

/** How a NAT behaves. */
export interface NatOptions {
  readonly mapping: MappingBehaviour;
  readonly filtering: FilteringBehaviour;
  readonly publicHost: string;
  /** Which public port a new mapping gets. @default "random" */
  readonly ports?: "random" | "sequential" | "preserve";
  /** A mapping without packets is forgotten after this. @default 30 s, the strictest that is common */
  readonly timeout?: Millis;
}

interface Mapping {
  readonly key: string;
  readonly inside: Address;
  readonly outside: Address;
  lastUsed: Millis;
  /** Destinations (address, address and port) that were sent to, and when. */
  readonly sentTo: Map<string, Millis>;
}

function scope(behaviour: MappingBehaviour, peer: Address): string {
  return behaviour === "endpoint-independent"
    ? "*"
    : behaviour === "address-dependent"
    ? peer.host
    : peer.key;
}

/** A NAT without hairpinning. */
export class Nat implements Middlebox {
  readonly options: NatOptions;
  #random: SeededRandom;
  #timeout: Millis;
  #byInside = new Map<string, Mapping>();
  #byPort = new Map<number, Mapping>();
  #nextPort: number;

  constructor(options: NatOptions, random: SeededRandom) {
    this.options = options;
    this.#random = random;
    this.#timeout = options.timeout ?? 30_000;
    this.#nextPort = random.between(20_000, 40_000);
  }

  outbound(from: Address, to: Address, now: Millis): Address | undefined {
    const key = `${from.key} ${scope(this.options.mapping, to)}`;
    let mapping = this.#byInside.get(key);
    if (mapping && now - mapping.lastUsed > this.#timeout) {
      this.#byPort.delete(mapping.outside.port);
      mapping = undefined;
    }
    if (!mapping) {
      const outside = addressOf(this.options.publicHost, this.#freePort(from.port, now));
      mapping = { key, inside: from, outside, lastUsed: now, sentTo: new Map() };
      this.#byInside.set(key, mapping);
      this.#byPort.set(outside.port, mapping);
    }
    mapping.lastUsed = now;
    mapping.sentTo.set(scope(this.options.filtering, to), now);
    return mapping.outside;
  }

  inbound(from: Address, to: Address, now: Millis): Address | undefined {
    const mapping = this.#byPort.get(to.port);
    if (!mapping || now - mapping.lastUsed > this.#timeout) return undefined;
    const allowed = mapping.sentTo.get(scope(this.options.filtering, from));
    if (allowed === undefined || now - allowed > this.#timeout) return undefined;
    mapping.lastUsed = now;
    mapping.sentTo.set(scope(this.options.filtering, from), now);
    return mapping.inside;
  }

  reset(): void {
    this.#byInside.clear();
    this.#byPort.clear();
    this.#nextPort += 1000;
  }

  #freePort(wanted: number, now: Millis): number {
    const { ports = "random" } = this.options;
    const free = (port: number) => {
      const holder = this.#byPort.get(port);
      return !holder || now - holder.lastUsed > this.#timeout;
    };
    if (ports === "preserve" && free(wanted)) return wanted;
    for (;;) {
      const port = ports === "sequential"
        ? (this.#nextPort = this.#nextPort >= 65_535 ? 1024 : this.#nextPort + 1)
        : this.#random.between(1024, 65_535);
      if (free(port)) return port;
    }
  }
}

/** A stateful firewall: lets in what answers to something, changes nothing. */
export class Firewall implements Middlebox {
  #flows = new Map<string, Millis>();
  #timeout: Millis;

  constructor(options: { timeout?: Millis } = {}) {
    this.#timeout = options.timeout ?? 30_000;
  }

  outbound(from: Address, to: Address, now: Millis): Address {
    this.#flows.set(`${from.key} ${to.key}`, now);
    return from;
  }

  inbound(from: Address, to: Address, now: Millis): Address | undefined {
    const key = `${to.key} ${from.key}`;
    const last = this.#flows.get(key);
    if (last === undefined || now - last > this.#timeout) return undefined;
    this.#flows.set(key, now);
    return to;
  }

  reset(): void {
    this.#flows.clear();
  }
}

/** Drops all UDP. */
export class Blocked implements Middlebox {
  outbound(): undefined {}
  inbound(): undefined {}
  reset(): void {}
}
