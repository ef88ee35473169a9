/**
 * The client's side of address discovery, for one socket: which address does the internet see it at, in each family, and
 * does its NAT map per destination?
 * @module
 */
import type { Address } from "../core/address.ts";
import { toHex } from "../core/bytes.ts";
import type { Millis } from "../core/clock.ts";
import type { Machine } from "../core/machine.ts";
import { Asker, UNREACHABLE_AFTER } from "./asker.ts";
import { classifyMapping, type MappingBehaviour } from "./nat_behaviour.ts";
import {
  decodeObserved,
  encodeObserve,
  type Observed,
  type ObserveKey,
  TXID_BYTES,
} from "./observe_codec.ts";
import { type Mac, type RandomBytes, uniform } from "./primitives.ts";

/**
 * How often a known address is asked for again. Most NATs keep an answered UDP mapping for 30 s or more (RFC 4787 §4.3
 * wants two minutes, many give less); 25 s stays under all but the worst without waking a sleeping radio too often.
 */
export const KEEP_ALIVE_MS = 25_000;
/** Targets per family: a relay's two ports on two addresses tell all that there is to tell; more are left out. */
export const MAX_TARGETS_PER_FAMILY = 4;

/** What a discovery is told. */
export type DiscoveryInput =
  /**
   * Whom to ask, and the key to ask with. In each family the first target is the main one; the others (the relay's second
   * port, its other addresses) tell how the NAT maps. Known targets go on as they were.
   */
  | { readonly type: "targets"; readonly targets: readonly Address[]; readonly key: ObserveKey }
  /** A datagram that begins with the byte of an answer arrived. */
  | { readonly type: "datagram"; readonly datagram: Uint8Array }
  /** An interface, address or route changed: nothing known before is believed any more. */
  | { readonly type: "network-changed" }
  /** A direct path died, say: ask at once whether the address is still the same, but go on believing what is known. */
  | { readonly type: "refresh" }
  /** The deadline passed. */
  | { readonly type: "time" }
  /** Ask nobody any more. */
  | { readonly type: "stop" };

/** What a discovery wants done. */
export type DiscoveryOutput =
  | { readonly type: "send"; readonly to: Address; readonly datagram: Uint8Array }
  /** The socket's address as `via` sees it: new, or changed. */
  | {
    readonly type: "observed";
    readonly family: 4 | 6;
    readonly address: Address;
    readonly via: Address;
  }
  /** How the NAT maps: new, or changed. `seen` holds every address that was observed. */
  | {
    readonly type: "mapping";
    readonly family: 4 | 6;
    readonly behaviour: MappingBehaviour;
    readonly seen: readonly Address[];
  }
  /** The main target of this family does not answer (and asking goes on). What was known is gone. */
  | { readonly type: "unreachable"; readonly family: 4 | 6 };

interface Family {
  readonly family: 4 | 6;
  /** The main target first. */
  askers: Asker[];
  /** What was last told. */
  told: { address?: string; mapping?: string; unreachable: boolean };
}

/** How a discovery works. */
export interface DiscoveryOptions {
  readonly mac: Mac;
  readonly random: RandomBytes;
  /** The socket is the one for direct paths: the relay may tell others where it sees it. @default false */
  readonly direct?: boolean;
  /** @default KEEP_ALIVE_MS */
  readonly keepAlive?: Millis;
}

/** Learns a socket's own address on IPv4 and IPv6 at once, and keeps it fresh. */
export class Discovery implements Machine<DiscoveryInput, DiscoveryOutput> {
  #options: DiscoveryOptions;
  #key: ObserveKey | undefined;
  /** The key before: a client that comes back asks with the one it remembers, and the answers come when welcome has brought another. */
  #formerKey: ObserveKey | undefined;
  #families: Family[] = [];
  #out: DiscoveryOutput[] = [];

  constructor(options: DiscoveryOptions) {
    this.#options = options;
  }

  handle(input: DiscoveryInput, now: Millis): void {
    switch (input.type) {
      case "targets":
        if (this.#key && toHex(this.#key.id) !== toHex(input.key.id)) this.#formerKey = this.#key;
        this.#key = input.key;
        this.#families = ([6, 4] as const).map((family) => this.#family(family, input, now));
        break;
      case "datagram":
        this.#answer(input.datagram, now);
        break;
      case "network-changed":
        for (const family of this.#families) {
          for (const asker of family.askers) asker.reset(now);
          family.told = { unreachable: false };
        }
        break;
      case "refresh":
        for (const family of this.#families) family.askers[0]?.refresh(now);
        break;
      case "stop":
        this.#families = [];
        break;
      case "time":
        break;
    }
    for (const family of this.#families) this.#ask(family, now);
  }

  poll(): DiscoveryOutput | undefined {
    return this.#out.shift();
  }

  deadline(): Millis | undefined {
    let earliest: Millis | undefined;
    for (const { askers } of this.#families) {
      for (const { at } of askers) {
        if (at !== undefined && (earliest === undefined || at < earliest)) earliest = at;
      }
    }
    return earliest;
  }

  #family(
    family: 4 | 6,
    { targets }: { targets: readonly Address[] },
    now: Millis,
  ): Family {
    const before = this.#families.find((known) => known.family === family);
    const wanted = targets.filter((target) => target.family === family)
      .slice(0, MAX_TARGETS_PER_FAMILY);
    const askers = wanted.map((target, index) => {
      const known = before?.askers[index];
      if (known?.target.key === target.key) return known;
      const refreshIn = index === 0 ? () => this.#refreshIn() : undefined;
      return new Asker(target, now, { refreshIn });
    });
    const same = before !== undefined && askers[0] === before.askers[0];
    return { family, askers, told: same ? before.told : { unreachable: false } };
  }

  /** Spread, so that a thousand clients of a restarted relay do not ask in step. */
  #refreshIn(): Millis {
    const { keepAlive = KEEP_ALIVE_MS, random } = this.#options;
    return keepAlive * (0.8 + 0.2 * uniform(random));
  }

  #ask(family: Family, now: Millis): void {
    const { mac, random, direct = false } = this.#options;
    for (const asker of family.askers) {
      if (!this.#key || asker.at === undefined || asker.at > now) continue;
      const txid = random(TXID_BYTES);
      const datagram = encodeObserve({ txid, otherPort: false, direct }, this.#key, { mac });
      asker.asked(toHex(txid), now);
      this.#out.push({ type: "send", to: asker.target, datagram });
    }
    const main = family.askers[0];
    const silent = main?.state.name === "asking" && main.state.attempt > UNREACHABLE_AFTER;
    if (silent && !family.told.unreachable) {
      family.told = { unreachable: true };
      this.#out.push({ type: "unreachable", family: family.family });
    }
  }

  #answer(datagram: Uint8Array, now: Millis): void {
    const answer = this.#decode(datagram);
    if (!answer) return;
    const txid = toHex(answer.txid);
    const { address } = answer;
    for (const family of this.#families) {
      // A relay that sees us in the other family than we asked in (some NAT64) tells nothing about this one.
      if (family.family !== address.family) continue;
      for (const asker of family.askers) {
        if (asker.answered(txid, address, now)) this.#learn(family, asker, now);
      }
    }
  }

  #decode(datagram: Uint8Array): Observed | undefined {
    for (const key of [this.#key, this.#formerKey]) {
      if (!key) continue;
      const decoded = decodeObserved(datagram, { key: key.key, mac: this.#options.mac });
      if (decoded.ok) return decoded.value;
    }
    return undefined;
  }

  #learn(family: Family, asker: Asker, now: Millis): void {
    const main = family.askers[0]!;
    const { told } = family;
    if (asker === main && main.seen && told.address !== main.seen.key) {
      // Another mapping than before: what the other targets saw belongs to the old one.
      if (told.address !== undefined) {
        for (const witness of family.askers.slice(1)) witness.reset(now);
        delete told.mapping;
      }
      told.address = main.seen.key;
      told.unreachable = false;
      this.#out.push({
        type: "observed",
        family: family.family,
        address: main.seen,
        via: main.target,
      });
    }
    if (!main.seen) return;
    const observations = family.askers.flatMap(({ target, seen }) =>
      seen ? [{ target, seen }] : []
    );
    const behaviour = classifyMapping(observations);
    if (behaviour && behaviour !== told.mapping) {
      told.mapping = behaviour;
      const seen = [...new Set(observations.map((observation) => observation.seen))];
      this.#out.push({ type: "mapping", family: family.family, behaviour, seen });
    }
  }
}
