/**
 * `postern netcheck`
 * @module
 */
import type { FilteringBehaviour, NetcheckFamily, NetcheckReport } from "../../roles/asks.ts";
import { defineCommand } from "../command.ts";
import { switchFlag } from "../flags.ts";
import { formatMillis } from "../format.ts";
import { askRunning } from "../state_choice.ts";
import { createPaint, escapeControl, type Paint, wantsColour } from "../terminal.ts";

/** In the words of RFC 4787 §4.1 and §5. */
const BEHAVIOUR_WORDS: Readonly<Record<FilteringBehaviour, string>> = {
  "none": "none",
  "endpoint-independent": "Endpoint-Independent",
  "address-dependent": "Address-Dependent",
  "address-and-port-dependent": "Address and Port-Dependent",
  "endpoint-independent or address-dependent": "Endpoint-Independent or Address-Dependent",
};

function behaviourText(behaviour: FilteringBehaviour | null): string {
  return behaviour === null ? "not known" : BEHAVIOUR_WORDS[behaviour] ?? "not known";
}

function familyLines(name: string, family: NetcheckFamily, paint: Paint): string[] {
  if (!family.route) return [`${paint.bold(name)}  ${paint.yellow("no route")}`];
  const udp = family.udp === null
    ? "not known"
    : family.udp
    ? paint.green("reaches the relay")
    : paint.red("blocked");
  const rows: [string, string][] = [
    ["udp", udp],
    ["local", family.local.length === 0 ? "none" : family.local.map(escapeControl).join(", ")],
    ["seen as", family.observed === null ? "not seen yet" : escapeControl(family.observed)],
    ["mapping", behaviourText(family.mapping)],
    ["filtering", behaviourText(family.filtering)],
    ["path mtu", family.pathMtu === null ? "not known" : `${family.pathMtu} bytes of UDP payload`],
  ];
  return [
    paint.bold(name),
    ...rows.map(([label, text]) => `  ${paint.dim(label.padEnd(11))}${text}`),
  ];
}

/** The report as text, ending in a line break. */
export function renderNetcheck(report: NetcheckReport, paint: Paint): string {
  const { relay } = report;
  const rtt = relay.rttMs === null ? "" : `  rtt ${formatMillis(relay.rttMs)}`;
  return `${
    [
      `${paint.bold("relay")}  ${escapeControl(relay.state)}  ${relay.address ?? ""}${rtt}`,
      ...familyLines("IPv4", report.v4, paint),
      ...familyLines("IPv6", report.v6, paint),
      ...report.advice.map((line) => `- ${escapeControl(line)}`),
    ].join("\n")
  }\n`;
}

/** What is known about the network, asked of the agent or connector that runs here. */
export const netcheck = defineCommand({
  name: "netcheck",
  summary: "Show what NATs and firewalls do here, and what that means",
  about:
    "Asks the agent or connector that runs here. Mapping and filtering are named as in RFC 4787.",
  args: {},
  flags: { json: switchFlag("Print JSON") },
  examples: [["netcheck", "of the role that runs here"]],
  async run(values, { io }) {
    const found = await askRunning<NetcheckReport>(values.state, { ask: "netcheck" }, {
      roles: ["agent", "connector"],
    });
    const paint = createPaint(wantsColour(io.outIsTerminal, io.env));
    for (const { answer } of found) {
      io.out(values.json ? `${JSON.stringify(answer)}\n` : renderNetcheck(answer, paint));
    }
    return 0;
  },
});
