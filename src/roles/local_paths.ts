/**
 * Where this machine may be reached: its interfaces' addresses and what the relay sees, gathered before anyone asks and kept
 * fresh.
 * @module
 */
import {
  type Address,
  addressOf,
  type Clock,
  Driver,
  type Logger,
  type Millis,
  type UnixMillis,
} from "../core/mod.ts";
import {
  type Candidate,
  gatherHostCandidates,
  linkOf,
  type LocalFacts,
  rangeOf,
  uniqueCandidates,
} from "../path/mod.ts";
import {
  Discovery,
  type DiscoveryInput,
  type DiscoveryOutput,
  type MappingBehaviour,
  type ObserveKey,
} from "../qad/mod.ts";
import { type NetworkWatch, sourceTowards, type UdpSocket, watchNetwork } from "../sockets/mod.ts";
import { hmac, randomBytes } from "./primitives.ts";
import { networkInterfaces } from "./reachable.ts";

/**
 * Between looks at the interfaces where the system does not tell of changes, in milliseconds. A look costs 0.1 ms, and what a
 * person notices of a change begins later.
 */
const LOOK_INTERVAL = 400;
/** Changes come in bursts: one look for those within this time, in milliseconds. */
const BURST = 5;
/** The clock jumps by this, in milliseconds, and nobody was there to see it pass: the machine has slept. */
const SLEPT = 2_000;

/**
 * What this machine's network is like after a sleep is looked at so much later, in milliseconds: to ask where it is seen takes some
 * milliseconds of computing, which whoever has waited for it to wake up would wait for.
 */
const SETTLE = 12;

/** What is known of one family. */
export interface FamilyView {
  /** The socket as the relay sees it. */
  observed: Address | undefined;
  /** `false`: the relay does not hear the socket. */
  heard: boolean | undefined;
  mapping: MappingBehaviour | undefined;
}

/** How to watch. */
export interface LocalPathsOptions {
  readonly socket: UdpSocket;
  /** It is the one for direct paths: the relay may tell others where it sees it. @default false */
  readonly direct?: boolean;
  readonly clock: Clock;
  readonly log: Logger;
  /** Candidates or facts are others than before. */
  readonly changed: () => void;
  /** An interface, an address or the way to the relay came or went, or this machine has slept. */
  readonly networkChanged?: () => void;
  /**
   * This machine has slept for so long, in milliseconds; `networkChanged` follows in a moment. `stoodStill`: by as much the wall
   * clock is ahead of the monotonic one now.
   */
  readonly slept?: (ms: number, stoodStill: number) => void;
}

/** See the module's head. */
export class LocalPaths {
  readonly v4: FamilyView = { observed: undefined, heard: undefined, mapping: undefined };
  readonly v6: FamilyView = { observed: undefined, heard: undefined, mapping: undefined };
  readonly #options: LocalPathsOptions;
  readonly #discovery: Driver<DiscoveryInput, DiscoveryOutput>;
  #interfaces = "";
  #watch: NetworkWatch | undefined;
  #looks: ReturnType<typeof setInterval> | undefined;
  #burst: ReturnType<typeof setTimeout> | undefined;
  #settling: ReturnType<typeof setTimeout> | undefined;
  #awakeAt: { unix: UnixMillis; now: Millis };
  #targets: readonly Address[] = [];
  #relayIsLocal = false;
  #told = "";

  constructor(options: LocalPathsOptions) {
    this.#options = options;
    this.#interfaces = this.#networkNow();
    this.#awakeAt = { unix: options.clock.unix(), now: options.clock.now() };
    this.#discovery = new Driver<DiscoveryInput, DiscoveryOutput>(
      new Discovery({ mac: hmac, random: randomBytes, direct: options.direct === true }),
      {
        clock: options.clock,
        tick: { type: "time" },
        output: (output) => this.#output(output),
      },
    );
    if (options.networkChanged) {
      this.#watch = watchNetwork(() => {
        this.lookAwake();
        this.#burst ??= setTimeout(() => {
          this.#burst = undefined;
          this.#look();
        }, BURST);
      });
      this.#looks = setInterval(() => this.#pass(), LOOK_INTERVAL);
    }
  }

  /** Whom to ask: the relay, at both its ports and in both families. */
  ask(targets: readonly Address[], key: ObserveKey): void {
    this.#relayIsLocal = targets.some((target) => rangeOf(target) === "loopback");
    // Other questions must not hide a change of the network.
    if (this.#looks !== undefined) this.#look();
    this.#targets = targets;
    this.#interfaces = this.#networkNow();
    this.#discovery.tell({ type: "targets", targets, key });
    this.#tellIfChanged();
  }

  /** Somebody has reason to believe that we are not where the relay saw us. */
  refresh(): void {
    this.#discovery.tell({ type: "refresh" });
  }

  /** An answer of the relay's came. */
  datagram(datagram: Uint8Array): void {
    this.#discovery.tell({ type: "datagram", datagram });
  }

  /** Host and observed addresses, each once. */
  candidates(): Candidate[] {
    const host = gatherHostCandidates(networkInterfaces(), {
      port: this.#options.socket.local.port,
      allowLoopback: this.#relayIsLocal,
      ipv6: this.#options.socket.local.family === 6,
    });
    const observed: Candidate[] = [this.v6.observed, this.v4.observed]
      .flatMap((address) => address ? [{ kind: "observed", address }] : []);
    return uniqueCandidates([...host, ...observed]);
  }

  /** May a peer be on this very machine? */
  get allowLoopback(): boolean {
    return this.#relayIsLocal;
  }

  facts(): LocalFacts {
    const hosts = this.candidates();
    const families = ([4, 6] as const).filter((family) =>
      hosts.some(({ address }) => address.family === family)
    );
    const links = hosts.flatMap(({ kind, address }) =>
      kind === "host" ? linkOf(address) ?? [] : []
    );
    return {
      families,
      links: [...new Set(links)],
      mapping: {
        ...(this.v4.mapping ? { v4: this.v4.mapping } : {}),
        ...(this.v6.mapping ? { v6: this.v6.mapping } : {}),
      },
    };
  }

  stop(): void {
    this.#watch?.close();
    clearInterval(this.#looks);
    clearTimeout(this.#burst);
    clearTimeout(this.#settling);
    this.#discovery.stop();
  }

  #output(output: DiscoveryOutput): void {
    switch (output.type) {
      case "send":
        this.#options.socket.send(output.to, output.datagram, output.datagram.length);
        return;
      case "observed": {
        const view = this.#view(output.family);
        view.observed = output.address;
        view.heard = true;
        this.#options.log.debug("own address", {
          family: output.family,
          address: output.address.key,
        });
        break;
      }
      case "mapping":
        this.#view(output.family).mapping = output.behaviour;
        break;
      case "unreachable": {
        const view = this.#view(output.family);
        view.observed = undefined;
        view.heard = false;
        break;
      }
    }
    this.#tellIfChanged();
  }

  #view(family: 4 | 6): FamilyView {
    return family === 4 ? this.v4 : this.v6;
  }

  /**
   * Has this machine slept since somebody asked last? Then all who want to know are told before this returns: for those who are
   * about to rely on what was before.
   */
  lookAwake(): void {
    if (this.#looks === undefined) return;
    const { clock } = this.#options;
    const before = this.#awakeAt;
    this.#awakeAt = { unix: clock.unix(), now: clock.now() };
    const passed = this.#awakeAt.unix - before.unix;
    const sleptMs = passed - LOOK_INTERVAL;
    if (sleptMs < SLEPT) return;
    // Whoever wakes up may be elsewhere.
    this.#forget();
    this.#options.slept?.(sleptMs, passed - (this.#awakeAt.now - before.now));
    // Right behind what leaves with that: the relay tells the other ends where it has seen us ask.
    this.#discovery.tell({ type: "network-changed" });
    clearTimeout(this.#settling);
    // Counted from the next turn of the event loop, before which whoever waits is let in: this one may take as long as that.
    this.#settling = setTimeout(() => {
      this.#settling = setTimeout(() => this.#tellChanged({ sleptMs }), SETTLE);
    });
  }

  /** Time has passed. */
  #pass(): void {
    this.lookAwake();
    if (!this.#watch) this.#look();
  }

  #look(): void {
    const now = this.#networkNow();
    if (now === this.#interfaces) return;
    this.#interfaces = now;
    this.#changed();
  }

  #changed(): void {
    this.#forget();
    this.#discovery.tell({ type: "network-changed" });
    this.#tellChanged();
  }

  /** Where we are seen is not known any more. */
  #forget(): void {
    for (const view of [this.v4, this.v6]) {
      view.observed = view.mapping = view.heard = undefined;
    }
  }

  #tellChanged(facts: { sleptMs?: number } = {}): void {
    this.#options.log.info("network changed", { ...facts });
    this.#options.networkChanged?.();
    this.#tellIfChanged();
  }

  /** Interfaces, and the ways to the relay. */
  #networkNow(): string {
    const ways = this.#targets.map((target) => sourceTowards(target) ?? "");
    return `${interfacesNow()} ${ways}`;
  }

  #tellIfChanged(): void {
    const now = JSON.stringify([
      this.candidates().map(({ kind, address }) => `${kind} ${address.key}`),
      this.facts(),
    ]);
    if (now === this.#told) return;
    this.#told = now;
    this.#options.changed();
  }
}

function interfacesNow(): string {
  const addresses = networkInterfaces().flatMap(({ name, address }) => {
    try {
      return [`${name} ${addressOf(address, 0).host}`];
    } catch {
      return [];
    }
  });
  return addresses.sort().join();
}
