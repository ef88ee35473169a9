/**
 * What a lab can be: the words that tests, the command line and the tables share.
 * @module
 */

/**
 * NATs in the words of RFC 4787 (§4.1 mapping, §5 filtering). EIM/EIF: endpoint-independent; AD: address-dependent;
 * APD: address-and-port-dependent.
 *
 * | kind | mapping | filtering |
 * |---|---|---|
 * | `none` | no NAT: a public address | none |
 * | `full-cone` | EIM | EIF |
 * | `restricted` | EIM | ADF |
 * | `port-restricted` | EIM | APDF |
 * | `symmetric` | APDM, random ports | APDF |
 * | `udp-blocked` | TCP passes, UDP does not | |
 */
export const PLAIN_NATS = [
  "none",
  "full-cone",
  "restricted",
  "port-restricted",
  "symmetric",
  "udp-blocked",
] as const;
/** One box between the site and the internet. */
export type PlainNat = typeof PLAIN_NATS[number];
/** Kinds that translate, so that a provider's NAT can stand in front of them. */
export const TRANSLATING_NATS = [
  "full-cone",
  "restricted",
  "port-restricted",
  "symmetric",
] as const;
/** One box, or that box behind the provider's own port-restricted NAT (RFC 6598, RFC 6888). */
export type NatKind = PlainNat | `cgnat-${typeof TRANSLATING_NATS[number]}`;

/** Every {@linkcode NatKind}. */
export const NAT_KINDS: readonly NatKind[] = [
  ...PLAIN_NATS,
  ...TRANSLATING_NATS.map((kind) => `cgnat-${kind}` as const),
];

/**
 * IPv6 at the sites; the relay always has it, except with `off`.
 *
 * - `firewall`: each site lets in only what it asked for (RFC 6092)
 * - `open`: everything may come in
 * - `broken-a`, `broken-b`: that site has addresses and a route, and everything sent is lost; else `firewall`
 * - `absent-a`, `absent-b`: that site has IPv4 only; else `firewall`
 */
export const IPV6_KINDS = [
  "firewall",
  "open",
  "off",
  "broken-a",
  "broken-b",
  "absent-a",
  "absent-b",
] as const;
/** One of {@linkcode IPV6_KINDS}. */
export type Ipv6Kind = typeof IPV6_KINDS[number];

/** What a link does to packets. Fields left out stay as they are. */
export interface LinkShape {
  /** One way. */
  readonly delayMs?: number;
  /** Uniform on top of the delay; keeps order. */
  readonly jitterMs?: number;
  readonly lossPercent?: number;
  /** Mean number of packets lost in a row; the share lost stays `lossPercent`. @default 1 (each on its own) */
  readonly lossBurst?: number;
  readonly duplicatePercent?: number;
  /** Packets held back by `reorderByMs`, so that later ones overtake them. */
  readonly reorderPercent?: number;
  /** @default 5 */
  readonly reorderByMs?: number;
  /** Packets whose payload is damaged in a way that no Internet checksum sees. */
  readonly corruptPercent?: number;
  /** 0: unlimited. */
  readonly rateMbit?: number;
  /** Waiting for the rate; what finds it full is dropped. @default 256 */
  readonly queueKib?: number;
  /** Nothing passes, in silence. */
  readonly down?: boolean;
}

/** A link both ways, or with differences per direction. */
export interface LinkOptions extends LinkShape {
  /** From the site to the internet, over what holds for both. */
  readonly out?: LinkShape;
  /** From the internet to the site, over what holds for both. */
  readonly in?: LinkShape;
}

/** The agent's site is A, the connector's B. */
export type Site = "A" | "B";
/** The link of site A, of site B, of the relay. In a LAN lab, B joins the connector to the agent's LAN. */
export type LinkName = Site | "R";
/** Where programs run. */
export type HostName = "agent" | "connector" | "relay";
/** Every namespace of a lab. `ispA` and `ispB` exist with a CGNAT only; `natB` does not in a LAN lab. */
export type NodeName = HostName | "natA" | "natB" | "ispA" | "ispB" | "inet";

/** How to make a lab. */
export interface LabOptions {
  /** The agent's NAT. @default "port-restricted" */
  readonly a?: NatKind;
  /** The connector's NAT. @default "port-restricted" */
  readonly b?: NatKind;
  /** @default "firewall" */
  readonly v6?: Ipv6Kind;
  /** All links. @default no delay, no loss */
  readonly link?: LinkOptions;
  /** Over `link`, for one of them. */
  readonly linkA?: LinkOptions;
  /** @default in a LAN lab: 0.5 ms, whatever `link` says */
  readonly linkB?: LinkOptions;
  readonly linkR?: LinkOptions;
  /** Agent and connector on one segment, behind NAT A. @default false */
  readonly lan?: boolean;
  /** Both sites number their LANs 192.168.1.0/24, as households do. @default false */
  readonly sameSubnet?: boolean;
  /** How long a NAT keeps a UDP mapping: seen one way, and seen both ways. @default 30 and 120 */
  readonly udpTimeoutSeconds?: number;
  readonly udpStreamTimeoutSeconds?: number;
  /** Of each emulated link, in bytes of IP. @default 1500 */
  readonly mtu?: number;
  /** `plain`: bare veth pairs at full speed, without link emulation. @default "emulated" */
  readonly wire?: "emulated" | "plain";
  /** Of the links' dice. @default from the clock */
  readonly seed?: number;
  /** Outlives the process that made it, until somebody destroys it. @default false */
  readonly detached?: boolean;
}
