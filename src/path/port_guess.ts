/**
 * Guessing ports, for a NAT that maps per destination on one side and a port-restricted one on the other.
 *
 * The side whose NAT maps per destination (*spreads*) opens many sockets and sends from each to the other side's one
 * observed address: that many ports of its NAT are then open to exactly that address, nobody knows which. The other side
 * (*hunts*) sends to many ports of it. With 256 open of 64,512, 2048 tries miss all of them once in 3,700 times; half of the
 * runs hit within 175.
 *
 * ```text
 * spreader: 256 sockets, 3 rounds of 64-byte packets           <=   768 packets,  49 kB
 * hunter:   ports near the observed ones, then random ones     <= 2,048 packets, 131 kB, over about one second
 * ```
 * @module
 */
import { type Address, addressOf } from "../core/address.ts";
import type { Millis } from "../core/clock.ts";
import { type MappingBehaviour, type RandomBytes, uniform } from "../qad/mod.ts";
import type { Mappings, PathOffer } from "./candidate.ts";
import { P2P_SOCKET, type SocketId } from "./direct_path.ts";

/** Sockets that the spreading side opens. */
export const SPREAD_SOCKETS = 256;
/** Ports that the hunting side tries. */
export const HUNT_PORTS = 2048;

const SPREAD_BATCH = 64;
const SPREAD_PACE_MS: Millis = 5;
/** When each round starts, from the first: later ones make up for loss. */
const SPREAD_ROUNDS_MS: readonly Millis[] = [0, 400, 1000];
/** The hunter starts this much later, so that the ports are open when its best guesses arrive. */
const HUNT_DELAY_MS: Millis = 50;
const HUNT_BATCH = 20;
const HUNT_PACE_MS: Millis = 10;
/** Ports tried on either side of each observed port: NATs that count up, or hand out blocks of ports. */
const HUNT_NEAR = 24;
/** After the last packet, a late answer may still come. */
const LINGER_MS: Millis = 700;

const LOWEST_PORT = 1024;
const PORTS = 65_536 - LOWEST_PORT;

/** Who does what when ports are guessed. */
export type GuessSide = "hunt" | "spread";

/** Which part falls to us; `undefined`: guessing does not help (both know, or one does not know, how its NAT maps). */
export function guessSide(
  own: MappingBehaviour | undefined,
  peer: MappingBehaviour | undefined,
): GuessSide | "both-dependent" | undefined {
  if (!own || !peer) return undefined;
  const ownDepends = own !== "endpoint-independent";
  const peerDepends = peer !== "endpoint-independent";
  if (ownDepends && peerDepends) return "both-dependent";
  if (!ownDepends && !peerDepends) return undefined;
  return ownDepends ? "spread" : "hunt";
}

/** What guessing would mean for two ends. */
export interface GuessPlan {
  readonly family: 4 | 6;
  readonly side: GuessSide | "both-dependent";
  /** The other end's observed addresses. */
  readonly targets: readonly Address[];
}

/** In which family ports would be guessed, and by whom; IPv4 first, as there the NATs are. */
export function guessPlan(
  local: { readonly families: readonly (4 | 6)[]; readonly mapping: Mappings },
  remote: PathOffer | undefined,
): GuessPlan | undefined {
  if (!remote) return undefined;
  for (const family of [4, 6] as const) {
    const word = family === 4 ? "v4" : "v6";
    const side = guessSide(local.mapping[word], remote.mapping[word]);
    if (!side || !local.families.includes(family)) continue;
    const targets = remote.candidates.flatMap(({ kind, address }) =>
      kind === "observed" && address.family === family ? [address] : []
    );
    if (targets.length > 0) return { family, side, targets };
  }
  return undefined;
}

/** Ports worth trying, each once: near the known ones first, then at random; {@linkcode HUNT_PORTS} at most. */
export function huntOrder(known: readonly number[], options: { random: RandomBytes }): number[] {
  const order = new Set<number>();
  for (let distance = 1; distance <= HUNT_NEAR; distance++) {
    for (const port of known) {
      for (const near of [port + distance, port - distance]) {
        if (near >= LOWEST_PORT && near <= 65_535) order.add(near);
      }
    }
  }
  while (order.size < HUNT_PORTS) {
    order.add(LOWEST_PORT + Math.floor(uniform(options.random) * PORTS));
  }
  return [...order].slice(0, HUNT_PORTS);
}

/** One small packet to send. */
export interface GuessPacket {
  readonly socket: SocketId;
  readonly to: Address;
}

type State =
  | { readonly name: "off" }
  | { readonly name: "opening"; readonly targets: readonly Address[] }
  | {
    readonly name: "spreading";
    readonly packets: readonly GuessPacket[];
    readonly started: Millis;
    readonly round: number;
    readonly next: number;
    readonly at: Millis;
  }
  | {
    readonly name: "hunting";
    readonly packets: readonly GuessPacket[];
    readonly next: number;
    readonly at: Millis;
  }
  | { readonly name: "lingering"; readonly at: Millis };

/** How long the driver may take to open the sockets before guessing ends without them. */
const OPENING_MS: Millis = 1000;

/** The plan of one guess at a time: which packets are due when. A part of the puncher. */
export class PortGuess {
  #state: State = { name: "off" };
  #openBy: Millis = 0;

  get name(): State["name"] {
    return this.#state.name;
  }

  get running(): boolean {
    return this.#state.name !== "off";
  }

  /** When {@linkcode due} has something. */
  get at(): Millis | undefined {
    if (this.#state.name === "off") return undefined;
    return this.#state.name === "opening" ? this.#openBy : this.#state.at;
  }

  /** Starts; `targets` are the other side's observed addresses of one family. */
  start(
    side: GuessSide,
    options: { targets: readonly Address[]; random: RandomBytes; now: Millis },
  ): void {
    const { targets, random, now } = options;
    if (side === "spread") {
      this.#openBy = now + OPENING_MS;
      this.#state = { name: "opening", targets };
      return;
    }
    const hosts = [...new Set(targets.map(({ host }) => host))];
    const ports = huntOrder(targets.map(({ port }) => port), { random });
    const packets = ports.map((port, i) => ({
      socket: P2P_SOCKET,
      to: addressOf(hosts[i % hosts.length]!, port),
    }));
    this.#state = { name: "hunting", packets, next: 0, at: now + HUNT_DELAY_MS };
  }

  /** The driver has opened these sockets. Answers false where they are not wanted (any more). */
  opened(sockets: readonly SocketId[], now: Millis): boolean {
    if (this.#state.name !== "opening") return false;
    const to = this.#state.targets[0]!;
    const packets = sockets.slice(0, SPREAD_SOCKETS).map((socket) => ({ socket, to }));
    this.#state = { name: "spreading", packets, started: now, round: 0, next: 0, at: now };
    return true;
  }

  /** The packets to send now. */
  due(now: Millis): readonly GuessPacket[] {
    const state = this.#state;
    if (this.at === undefined || this.at > now) return [];
    switch (state.name) {
      case "opening":
      case "lingering":
        this.#state = { name: "off" };
        return [];
      case "spreading":
        return this.#spread(state, now);
      case "hunting": {
        const packets = state.packets.slice(state.next, state.next + HUNT_BATCH);
        const next = state.next + packets.length;
        this.#state = next < state.packets.length
          ? { ...state, next, at: now + HUNT_PACE_MS }
          : { name: "lingering", at: now + LINGER_MS };
        return packets;
      }
      case "off":
        return [];
    }
  }

  /** Ends at once. */
  stop(): void {
    this.#state = { name: "off" };
  }

  #spread(state: Extract<State, { name: "spreading" }>, now: Millis): readonly GuessPacket[] {
    const packets = state.packets.slice(state.next, state.next + SPREAD_BATCH);
    const next = state.next + packets.length;
    const round = state.round + 1;
    const roundAt = SPREAD_ROUNDS_MS[round];
    if (next < state.packets.length) {
      this.#state = { ...state, next, at: now + SPREAD_PACE_MS };
    } else if (roundAt !== undefined) {
      this.#state = { ...state, round, next: 0, at: Math.max(state.started + roundAt, now) };
    } else {
      this.#state = { name: "lingering", at: now + LINGER_MS };
    }
    return packets;
  }
}
