/**
 * Addresses at which an end may be reached (RFC 8445 §5.1.1), and the offer in which one end tells the other its own. An
 * offer travels inside the tunnel only, as plain JSON:
 *
 * ```json
 * { "generation": 1, "mapping": { "v4": "endpoint-independent" },
 *   "candidates": [{ "kind": "host", "address": "192.168.1.5:51001" }] }
 * ```
 * @module
 */
import ipaddr from "ipaddr.js";
import { type Address, parseAddress } from "../core/address.ts";
import { type Decoded, MAPPING_BEHAVIOURS, type MappingBehaviour } from "../qad/mod.ts";

/** RFC 8445 §4: an interface's own address; as the relay sees us; as the peer sees us (or we it) during probing. */
export const CANDIDATE_KINDS = ["host", "observed", "peer-reflexive"] as const;
/** One of {@linkcode CANDIDATE_KINDS}. RFC 8445 calls "observed" server-reflexive. */
export type CandidateKind = typeof CANDIDATE_KINDS[number];

/** An address at which an end may be reached. */
export interface Candidate {
  readonly kind: CandidateKind;
  readonly address: Address;
}

/** Candidates in one offer; one with more is refused, as nobody has that many and each costs probes. */
export const MAX_OFFER_CANDIDATES = 32;
/** Characters of an address in an offer: longer ones cannot be addresses. */
const MAX_ADDRESS_CHARACTERS = 60;

/** How a NAT maps in each family, as far as known. */
export interface Mappings {
  readonly v4?: MappingBehaviour;
  readonly v6?: MappingBehaviour;
}

/** Where one end may be reached, as it tells the other. */
export interface PathOffer {
  /** Grows with every offer of one end; a new one makes both ends try anew, together. */
  readonly generation: number;
  readonly candidates: readonly Candidate[];
  readonly mapping: Mappings;
}

/** An offer as JSON has it. */
export interface PathOfferJson {
  generation: number;
  mapping: { v4?: string; v6?: string };
  candidates: { kind: string; address: string }[];
}

/** What ipaddr.js calls an address: `loopback`, `linkLocal`, `private`, `unicast` … */
export function rangeOf(address: Address): string {
  return ipaddr.parse(address.host).range();
}

/**
 * The link that an IPv6 address is on, where it is usual: its first 64 bits (RFC 4291 §2.5.4). IPv4 says nothing of the kind:
 * thousands of homes have the same private network.
 */
export function linkOf({ family, host }: Address): string | undefined {
  if (family === 4) return undefined;
  return ipaddr.IPv6.parse(host).parts.slice(0, 4).join(":");
}

const NEVER = new Set(["unspecified", "broadcast", "multicast", "linkLocal"]);

/**
 * May we send probes there at all? Not to groups, not to no port, not to link-local addresses (they mean nothing without a
 * zone), and to loopback only when `allowLoopback` says so (both ends on one machine): an offer must not make an end send
 * to its own machine's services.
 */
export function isUsable(address: Address, options: { allowLoopback?: boolean } = {}): boolean {
  const range = rangeOf(address);
  if (address.port === 0 || NEVER.has(range)) return false;
  return range !== "loopback" || options.allowLoopback === true;
}

/** Every address once, the first kind wins. */
export function uniqueCandidates(candidates: Iterable<Candidate>): Candidate[] {
  const byKey = new Map<string, Candidate>();
  for (const candidate of candidates) {
    if (!byKey.has(candidate.address.key)) byKey.set(candidate.address.key, candidate);
  }
  return [...byKey.values()];
}

/** An offer as JSON has it; candidates beyond {@linkcode MAX_OFFER_CANDIDATES} are left out. */
export function encodeOffer(offer: PathOffer): PathOfferJson {
  return {
    generation: offer.generation,
    mapping: { ...offer.mapping },
    candidates: offer.candidates.slice(0, MAX_OFFER_CANDIDATES)
      .map(({ kind, address }) => ({ kind, address: address.key })),
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function readCandidate(value: unknown): Candidate | undefined {
  if (!isRecord(value) || typeof value.address !== "string") return undefined;
  if (value.address.length > MAX_ADDRESS_CHARACTERS) return undefined;
  const kind = CANDIDATE_KINDS.find((known) => known === value.kind);
  const address = parseAddress(value.address);
  return kind && address && { kind, address };
}

function readMapping(value: unknown): MappingBehaviour | undefined {
  return MAPPING_BEHAVIOURS.find((known) => known === value);
}

/**
 * Reads an offer out of parsed JSON. Any value gives an offer or the reason why it is none; candidates that may not be
 * probed ({@linkcode isUsable}) are left out, as are mappings in words that we do not know.
 */
export function decodeOffer(
  json: unknown,
  options: { allowLoopback?: boolean } = {},
): Decoded<PathOffer> {
  const refuse = (refused: string) => ({ ok: false, refused }) as const;
  if (!isRecord(json)) return refuse("Cannot read offer as it is not an object");
  const { generation, candidates, mapping } = json;
  if (typeof generation !== "number" || !Number.isSafeInteger(generation) || generation < 0) {
    return refuse("Cannot read offer as its generation is not a whole number from 0");
  }
  if (!Array.isArray(candidates)) return refuse("Cannot read offer as it has no candidates");
  if (candidates.length > MAX_OFFER_CANDIDATES) {
    return refuse(
      `Cannot read offer as it has ${candidates.length} candidates, more than ${MAX_OFFER_CANDIDATES}`,
    );
  }
  const read: Candidate[] = [];
  for (const [index, value] of candidates.entries()) {
    const candidate = readCandidate(value);
    if (!candidate) return refuse(`Cannot read offer as candidate ${index} is malformed`);
    if (isUsable(candidate.address, options)) read.push(candidate);
  }
  const words = isRecord(mapping) ? mapping : {};
  const v4 = readMapping(words.v4);
  const v6 = readMapping(words.v6);
  const value: PathOffer = {
    generation,
    candidates: uniqueCandidates(read),
    mapping: { ...(v4 && { v4 }), ...(v6 && { v6 }) },
  };
  return { ok: true, value };
}
