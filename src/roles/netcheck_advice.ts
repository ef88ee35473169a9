/**
 * What a network check means for direct paths, in words that a person can act on.
 * @module
 */
import type { NetcheckFamily, NetcheckReport } from "./asks.ts";

/** What advice depends on besides the report. */
export interface AdviceFacts {
  /** Direct paths are switched off. */
  readonly noDirect: boolean;
  /** Local port of the P2P socket. */
  readonly p2pPort: number;
  /** Why the relay is out of reach. */
  readonly relayReason: string | null;
}

/** Below this, in bytes of UDP payload, a link on the way is smaller than usual Ethernet over PPPoE (MTU 1492). */
const USUAL_PAYLOAD = 1_444;

/** Most important first. */
export function netcheckAdvice(
  { relay, v4, v6 }: Omit<NetcheckReport, "advice">,
  { noDirect, p2pPort, relayReason }: AdviceFacts,
): string[] {
  const advice: string[] = [];
  if (relay.state !== "connected") {
    const why = relayReason === null ? "" : `: ${relayReason}`;
    advice.push(
      `The relay is out of reach${why}. Check that it runs, and that UDP to its port may leave here.`,
    );
  }
  if (noDirect) {
    advice.push("Direct paths are switched off here: leave --no-direct out to have them.");
  }
  const families = [["IPv6", v6], ["IPv4", v4]] as const;
  if (families.every(([, { udp }]) => udp !== true)) {
    if (relay.state === "connected" && families.some(([, { udp }]) => udp === false)) {
      advice.push(
        `The relay does not hear a new UDP port of this machine: a firewall lets nothing out from it. ` +
          `Let UDP out from port ${p2pPort} (fix the number with --p2p-port).`,
      );
    }
    return advice;
  }
  for (const [name, family] of families) advice.push(...familyAdvice(name, family, p2pPort));
  const easy = families.some(([, family]) => family.udp && isEasy(family));
  advice.push(
    easy
      ? "Direct paths work with nearly every other end."
      : "Direct paths work with other ends whose NAT maps alike for all destinations; others stay relayed.",
  );
  return advice;
}

/** Does the same outside address serve for every other end? */
function isEasy({ mapping }: NetcheckFamily): boolean {
  return mapping === "none" || mapping === "endpoint-independent";
}

function familyAdvice(name: string, family: NetcheckFamily, p2pPort: number): string[] {
  if (!family.route) {
    return name === "IPv6" ? ["No IPv6 here: where both ends have it, no NAT is in the way."] : [];
  }
  if (family.udp === false) {
    return [
      `${name}: this machine has an address, but UDP does not reach the relay: it is not used.`,
    ];
  }
  const advice: string[] = [];
  if (family.mapping !== null && !isEasy(family)) {
    advice.push(
      `${name}: the NAT maps per destination (RFC 4787 calls it ${family.mapping}). If the router is yours, ` +
        `forward UDP port ${p2pPort} to this machine, or switch it to another NAT mode.`,
    );
  }
  if (family.mapping === "none" && family.filtering === "address-and-port-dependent") {
    advice.push(
      `${name}: no NAT, but a firewall that lets in answers only: direct paths work, as both ends send first.`,
    );
  }
  if (family.pathMtu !== null && family.pathMtu < USUAL_PAYLOAD) {
    advice.push(
      `${name}: datagrams of more than ${family.pathMtu} bytes do not pass; bulk transfers are a little slower.`,
    );
  }
  return advice;
}
