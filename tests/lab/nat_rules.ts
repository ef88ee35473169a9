/**
 * The nftables rules that make one box behave as a given kind of NAT.
 *
 * How each behaviour comes about:
 * - *Endpoint-independent mapping*: Linux keeps the source port while it is free, and each site has one host. What
 *   the internet sees is that port xor `portMask` (done to every packet, outside of connection tracking), so that
 *   nobody may take the port inside for the port outside.
 * - *Address-and-port-dependent mapping*: a port of its own, at random, for each connection.
 * - *Filtering*: connection tracking alone is address-and-port-dependent. The other kinds remember which inner port
 *   has spoken (`owners`) and with which address (`heard`), and let strangers in by that.
 * - *Rebinding*: another zone of connection tracking (all that was known is forgotten at once) and another mask.
 *
 * What this leaves out: ICMP errors about translated UDP do not find their way back in, as behind many real NATs.
 * @module
 */
import type { PlainNat } from "./options.ts";

/** One box. Its interfaces are `wan`, and everything else is inside. */
export interface NatRules {
  readonly kind: PlainNat;
  /** Which addresses leave as which, in this order. */
  readonly sources: readonly { readonly from: string; readonly to: string }[];
  /** Connection tracking zone: 1 to 65535. */
  readonly zone: number;
  /** 0 to 1023: keeps unprivileged ports unprivileged. 0: ports are kept. */
  readonly portMask: number;
  /** How long a mapping that nobody uses lets strangers in. */
  readonly timeoutSeconds: number;
  /** Lets in over IPv6 only what was asked for. */
  readonly v6Firewall: boolean;
}

/** The text for `nft -f`: replaces what was there in one transaction. */
export function natRuleset(rules: NatRules): string {
  const { kind, sources, zone, portMask, timeoutSeconds, v6Firewall } = rules;
  const translates = kind !== "none";
  const remembers = kind === "full-cone" || kind === "restricted";
  const shifts = translates && kind !== "symmetric" && portMask !== 0;
  const allowed = kind === "full-cone" ? "udp dport @inner_ports" : "ip saddr . udp dport @heard";
  const lines = [
    "table inet box { }",
    "delete table inet box",
    "table inet box {",
    // A template in a zone of its own, both for what passes and for our own error messages.
    `  chain zone_in { type filter hook prerouting priority raw; ct zone set ${zone}; }`,
    `  chain zone_out { type filter hook output priority raw; ct zone set ${zone}; }`,
    "  chain into_box { type filter hook input priority filter;",
    // Answered, a stray packet would leave a connection behind that takes the very port pair a later punch needs.
    '    iifname "wan" ct state new meta l4proto { tcp, udp } drop',
    "  }",
    "  chain through { type filter hook forward priority filter;",
    ...(kind === "udp-blocked" ? ["    meta l4proto udp drop"] : []),
    ...(v6Firewall ? ['    iifname "wan" meta nfproto ipv6 ct state new drop'] : []),
    // Only what is translated inwards may come in from outside.
    ...(translates
      ? ["    ct status dnat accept", '    iifname "wan" meta nfproto ipv4 ct state new drop']
      : []),
    "  }",
    "}",
    "table ip translate { }",
    "delete table ip translate",
  ];
  if (!translates) return lines.join("\n") + "\n";
  lines.push("table ip translate {");
  if (remembers) {
    const memory = `size 65535; flags dynamic,timeout; timeout ${timeoutSeconds}s;`;
    lines.push(
      `  map owners { type inet_service : ipv4_addr; ${memory} }`,
      `  set inner_ports { type inet_service; ${memory} }`,
      `  set heard { type ipv4_addr . inet_service; ${memory} }`,
      "  chain remember { type filter hook forward priority filter - 10;",
      '    oifname "wan" meta l4proto udp update @owners { udp sport : ip saddr } ' +
        "update @inner_ports { udp sport } update @heard { ip daddr . udp sport }",
      "  }",
      "  chain inward { type nat hook prerouting priority dstnat;",
      `    iifname "wan" meta l4proto udp ${allowed} dnat to udp dport map @owners`,
      "  }",
    );
  }
  if (shifts) {
    lines.push(
      "  chain unshift { type filter hook prerouting priority raw - 50;",
      `    iifname "wan" udp dport set udp dport ^ ${portMask}`,
      "  }",
      "  chain shift { type filter hook postrouting priority srcnat + 200;",
      `    oifname "wan" udp sport set udp sport ^ ${portMask}`,
      "  }",
    );
  }
  lines.push("  chain outward { type nat hook postrouting priority srcnat;");
  for (const { from, to } of sources) {
    const of = `    oifname "wan" ip saddr ${from}`;
    if (kind === "symmetric") {
      lines.push(`${of} meta l4proto { tcp, udp } snat to ${to}:1024-65535 fully-random`);
    }
    lines.push(`${of} snat to ${to}`);
  }
  lines.push("  }", "}");
  return lines.join("\n") + "\n";
}

/** What is cut at one box, on top of what its kind does. */
export interface Cuts {
  /** Local UDP ports of the host behind it; `"all"`: every one. */
  readonly udp: "all" | readonly number[];
  readonly v6: boolean;
}

/** The text for `nft -f` that cuts exactly this. */
export function cutRuleset({ udp, v6 }: Cuts): string {
  const lines = ["table inet cuts { }", "delete table inet cuts", "table inet cuts {"];
  lines.push("  chain through { type filter hook forward priority filter - 50;");
  if (v6) lines.push("    meta nfproto ipv6 drop");
  if (udp === "all") lines.push("    meta l4proto udp drop");
  else if (udp.length > 0) {
    const ports = `{ ${udp.join(", ")} }`;
    lines.push(
      `    oifname "wan" udp sport ${ports} drop`,
      `    iifname "wan" udp dport ${ports} drop`,
    );
  }
  lines.push("  }", "}");
  return lines.join("\n") + "\n";
}

/** The text for `nft -f`, in `inet`, that loses everything between the two sites and leaves the relay reachable. */
export function directCutRuleset(cut: boolean): string {
  const lines = ["table inet cuts { }", "delete table inet cuts"];
  if (cut) {
    lines.push(
      "table inet cuts {",
      "  chain through { type filter hook forward priority filter;",
      '    iifname { "siteA", "siteB" } oifname { "siteA", "siteB" } drop',
      "  }",
      "}",
    );
  }
  return lines.join("\n") + "\n";
}
