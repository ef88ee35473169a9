/**
 * Which path a tunnel has to end on, for pairs of NATs and families: the promise, as a table.
 * @module
 */
import { canPunch, expectedBehaviour } from "./nat_check.ts";
import type { LabOptions, NatKind } from "./options.ts";
import type { TunnelPath } from "./postern_in_lab.ts";

/** One network and what Postern has to make of it. */
export interface Scenario {
  readonly name: string;
  readonly lab: LabOptions;
  readonly expected: TunnelPath;
  /** The family that the direct path has to use; `undefined`: either. */
  readonly family?: 4 | 6;
  /** What connector and agent are started with. */
  readonly flags?: readonly string[];
  /** What status has to say of a relayed tunnel. */
  readonly why?: RegExp;
  /** Runs everywhere, not only where all of the table is asked for. */
  readonly quick?: boolean;
}

/** Ten milliseconds per link: 40 ms there and back directly, 80 ms over the relay. */
const LINK = { delayMs: 10 };

/**
 * Over IPv4: direct where plain punching works; also where one side maps at random and the other filters by port, as
 * the many ports are guessed; relayed where both map at random; nothing where UDP is blocked.
 */
export function expectedOverV4(a: NatKind, b: NatKind): TunnelPath {
  const [x, y] = [expectedBehaviour(a), expectedBehaviour(b)];
  if (x.mapping === "blocked" || y.mapping === "blocked") return "none";
  if (canPunch(a, b)) return "direct";
  return x.mapping === "APDM" && y.mapping === "APDM" ? "relayed" : "direct";
}

function overV4(a: NatKind, b: NatKind, quick = false): Scenario {
  return {
    name: `${a} × ${b}, IPv4`,
    lab: { a, b, v6: "off", link: LINK },
    expected: expectedOverV4(a, b),
    ...(expectedOverV4(a, b) === "direct" ? { family: 4 } : {}),
    quick,
  };
}

const CORNERS = ["full-cone", "restricted", "port-restricted", "symmetric"] as const;

/** Every pair of the four classic kinds, both ways round. */
const MATRIX: Scenario[] = CORNERS.flatMap((a) =>
  CORNERS.map((b) => overV4(a, b, a === b && (a === "port-restricted" || a === "symmetric")))
);

const OTHERS: Scenario[] = [
  {
    ...overV4("port-restricted", "symmetric"),
    name: "port-restricted × symmetric, IPv4, --no-port-guessing",
    flags: ["--no-port-guessing"],
    expected: "relayed",
    why: /port guessing is switched off/,
  },
  overV4("none", "none"),
  overV4("none", "symmetric"),
  overV4("cgnat-port-restricted", "port-restricted"),
  overV4("cgnat-port-restricted", "cgnat-port-restricted"),
  overV4("cgnat-symmetric", "full-cone"),
  overV4("cgnat-symmetric", "none"),
  overV4("cgnat-symmetric", "symmetric"),
  overV4("udp-blocked", "full-cone", true),
  overV4("full-cone", "udp-blocked"),
  {
    name: "both households use 192.168.1.0/24",
    lab: { v6: "off", sameSubnet: true, link: LINK },
    expected: "direct",
    family: 4,
  },
  {
    name: "one LAN, behind one NAT",
    lab: { lan: true, link: LINK },
    expected: "direct",
  },
  {
    name: "symmetric × symmetric, IPv6 with stateful firewalls",
    lab: { a: "symmetric", b: "symmetric", v6: "firewall", link: LINK },
    expected: "direct",
    family: 6,
    quick: true,
  },
  {
    name: "symmetric × symmetric, IPv6 without firewalls",
    lab: { a: "symmetric", b: "symmetric", v6: "open", link: LINK },
    expected: "direct",
    family: 6,
  },
  {
    name: "cgnat-symmetric × symmetric, IPv6 with stateful firewalls",
    lab: { a: "cgnat-symmetric", b: "symmetric", v6: "firewall", link: LINK },
    expected: "direct",
    family: 6,
  },
  {
    name: "port-restricted × port-restricted, both families",
    lab: { v6: "firewall", link: LINK },
    expected: "direct",
  },
  {
    name: "IPv6 broken at the agent",
    lab: { v6: "broken-a", link: LINK },
    expected: "direct",
    family: 4,
    quick: true,
  },
  {
    name: "IPv6 broken at the connector",
    lab: { v6: "broken-b", link: LINK },
    expected: "direct",
    family: 4,
  },
  {
    name: "IPv6 at the connector only",
    lab: { v6: "absent-a", link: LINK },
    expected: "direct",
    family: 4,
  },
  {
    name: "IPv6 broken at the agent, symmetric × symmetric",
    lab: { a: "symmetric", b: "symmetric", v6: "broken-a", link: LINK },
    expected: "relayed",
  },
  {
    name: "port-restricted × port-restricted, 2 % loss",
    lab: { v6: "off", link: { ...LINK, lossPercent: 2 } },
    expected: "direct",
    family: 4,
  },
  {
    name: "IPv6 with stateful firewalls, loss, jitter, reordering, duplicates, damage",
    lab: {
      a: "symmetric",
      b: "symmetric",
      link: {
        ...LINK,
        lossPercent: 1,
        jitterMs: 3,
        reorderPercent: 1,
        duplicatePercent: 2,
        corruptPercent: 0.5,
      },
    },
    expected: "direct",
    family: 6,
  },
];

/** All of the table. */
export const SCENARIOS: readonly Scenario[] = [...MATRIX, ...OTHERS];
