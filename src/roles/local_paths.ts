/**
 * Where this machine may be reached: its interfaces' addresses and what the relay sees, gathered before anyone asks and kept
 * fresh.
 * @module
 */
import { type Address, addressOf, type Clock, Driver, type Logger } from "../core/mod.ts";
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
import type { UdpSocket } from "../sockets/mod.ts";
import { hmac, randomBytes } from "./primitives.ts";

/**
 * Between looks at the interfaces, in milliseconds. Deno has no event for it; a look costs 0.1 ms, and what a person notices
 * of a change begins later.
 */
const LOOK_INTERVAL = 400;

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
  readonly clock: Clock;
  readonly log: Logger;
  /** Candidates or facts are others than before. */
  readonly changed: () => void;
  /** An interface or address came or went. */
  readonly networkChanged?: () => void;
}

/** See the module's head. */
export class LocalPaths {
  readonly v4: FamilyView = { observed: undefined, heard: undefined, mapping: undefined };
  readonly v6: FamilyView = { observed: undefined, heard: undefined, mapping: undefined };
  readonly #options: LocalPathsOptions;
  readonly #discovery: Driver<DiscoveryInput, DiscoveryOutput>;
  #interfaces = "";
  #watch: ReturnType<typeof setInterval> | undefined;
  #relayIsLocal = false;
  #told = "";

  constructor(options: LocalPathsOptions) {
    this.#options = options;
    this.#interfaces = interfacesNow();
    this.#discovery = new Driver<DiscoveryInput, DiscoveryOutput>(
      new Discovery({ mac: hmac, random: randomBytes }),
      {
        clock: options.clock,
        tick: { type: "time" },
        output: (output) => this.#output(output),
      },
    );
    if (options.networkChanged) {
      this.#watch = setInterval(() => this.#look(), LOOK_INTERVAL);
    }
  }

  /** Whom to ask: the relay, at both its ports and in both families. */
  ask(targets: readonly Address[], key: ObserveKey): void {
    this.#relayIsLocal = targets.some((target) => rangeOf(target) === "loopback");
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
    clearInterval(this.#watch);
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

  #look(): void {
    const now = interfacesNow();
    if (now === this.#interfaces) return;
    this.#interfaces = now;
    this.#options.log.info("network changed");
    for (const view of [this.v4, this.v6]) {
      view.observed = view.mapping = view.heard = undefined;
    }
    this.#discovery.tell({ type: "network-changed" });
    this.#options.networkChanged?.();
    this.#tellIfChanged();
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

function networkInterfaces(): Deno.NetworkInterfaceInfo[] {
  try {
    return Deno.networkInterfaces();
  } catch {
    // Too early or too late in an interface's life.
    return [];
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
