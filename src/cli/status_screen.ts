/**
 * `postern status` for people.
 * @module
 */
import type {
  ClientStatus,
  FlowStatus,
  RelayLinkStatus,
  RelayStatus,
  SocketStatus,
  Status,
  TunnelStatus,
} from "../roles/status.ts";
import { formatBytes, formatCount, formatMillis, formatSeconds, formatTable } from "./format.ts";
import { escapeControl, type Paint } from "./terminal.ts";

/** Rows of one list on the screen; `--json` has them all. */
const MAX_ROWS = 50;

function bounded(lines: readonly string[], indent = "  "): string[] {
  if (lines.length <= MAX_ROWS) return [...lines];
  return [
    ...lines.slice(0, MAX_ROWS),
    `${indent}and ${lines.length - MAX_ROWS} more (--json has all)`,
  ];
}

function row(label: string, text: string, paint: Paint): string {
  return `${paint.dim(label.padEnd(10))}${text}`;
}

function linkText(link: RelayLinkStatus, paint: Paint): string {
  const state = link.state === "connected" ? paint.green(link.state) : paint.yellow(link.state);
  return [
    state,
    link.address,
    link.rttMs === null ? null : `rtt ${formatMillis(link.rttMs)}`,
    link.connectMs === null ? null : `connected in ${formatMillis(link.connectMs)}`,
    link.earlyData === null ? null : `early data ${link.earlyData}`,
    link.retryInMs === null
      ? null
      : `next try in ${formatSeconds(Math.ceil(link.retryInMs / 1000))}`,
    link.reason === null ? null : escapeControl(link.reason),
  ].filter((part) => part !== null).join("  ");
}

function socketText(name: string, socket: SocketStatus): string {
  const seen = [socket.observed.v4, socket.observed.v6].filter((address) => address !== null);
  const seenAs = seen.length === 0 ? "not seen by the relay yet" : `seen as ${seen.join(" and ")}`;
  return `${name.padEnd(5)} ${socket.local ?? "not open"}  ${seenAs}`;
}

function flowRow(flow: FlowStatus): string[] {
  return [
    `    ${escapeControl(flow.service)}`,
    flow.protocol,
    escapeControl(flow.peer),
    formatSeconds(flow.ageSeconds),
    `in ${formatBytes(flow.bytesIn)}`,
    `out ${formatBytes(flow.bytesOut)}`,
    flow.stalledBy === null ? "" : `held up by the ${flow.stalledBy}`,
  ];
}

function tunnelLines(tunnel: TunnelStatus, paint: Paint): string[] {
  const path = tunnel.path === "direct" ? paint.green("direct") : paint.yellow("relayed");
  const head = [
    `  ${paint.bold(escapeControl(tunnel.peer))}`,
    path,
    tunnel.remote,
    tunnel.rttMs === null ? null : `rtt ${formatMillis(tunnel.rttMs)}`,
    tunnel.mtu === null ? null : `packets of ${tunnel.mtu} bytes`,
    formatCount(tunnel.flows, "flow"),
    `in ${formatBytes(tunnel.bytesIn)}`,
    `out ${formatBytes(tunnel.bytesOut)}`,
  ].filter((part) => part !== null).join("  ");
  const story = [
    tunnel.openedMs === null ? null : `opened in ${formatMillis(tunnel.openedMs)}`,
    tunnel.directAfterMs === null ? null : `direct after ${formatMillis(tunnel.directAfterMs)}`,
    tunnel.earlyData === null ? null : `early data ${tunnel.earlyData}`,
    tunnel.pathChanges === 0 ? null : formatCount(tunnel.pathChanges, "path change"),
    tunnel.services.length === 0 ? null : `for ${tunnel.services.map(escapeControl).join(", ")}`,
  ].filter((part) => part !== null).join(", ");
  const lines = [head];
  if (story !== "") lines.push(`    ${story}`);
  if (tunnel.path === "relayed" && tunnel.whyRelayed !== null) {
    lines.push(`    relayed because: ${escapeControl(tunnel.whyRelayed)}`);
  }
  return [...lines, ...bounded(formatTable(tunnel.flowList.map(flowRow)), "    ")];
}

function headLine(status: Status, paint: Paint): string {
  const name = status.name === null ? "" : ` ${escapeControl(status.name)}`;
  return `${paint.bold(`${status.role}${name}`)}  ${status.version}, up ${
    formatSeconds(status.uptimeSeconds)
  }, process ${status.pid}`;
}

function clientLines(status: ClientStatus, paint: Paint): string[] {
  const none = status.role === "agent" ? "none granted" : "none offered";
  const services = status.services.length === 0
    ? none
    : status.services.map(escapeControl).join(", ");
  const verb = status.role === "agent" ? "open here" : "targets";
  return [
    headLine(status, paint),
    row("relay", linkText(status.relay, paint), paint),
    row("sockets", socketText("relay", status.sockets.relay), paint),
    row("", socketText("p2p", status.sockets.p2p), paint),
    row("services", services, paint),
    ...status.endpoints.map((text, i) => row(i === 0 ? verb : "", escapeControl(text), paint)),
    ...(status.certificateExpires === null
      ? []
      : [row("key", `certificate until ${escapeControl(status.certificateExpires)}`, paint)]),
    row("tunnels", status.tunnels.length === 0 ? "none" : "", paint).trimEnd(),
    ...bounded(status.tunnels.flatMap((tunnel) => tunnelLines(tunnel, paint))),
  ];
}

function relayLines(status: RelayStatus, paint: Paint): string[] {
  const dropped = Object.entries(status.dropped).filter(([, count]) => count > 0)
    .map(([reason, count]) => `${count} ${escapeControl(reason)}`);
  const clients = status.clients.map((client) => [
    `  ${client.kind}`,
    escapeControl(client.name),
    client.address,
    formatSeconds(client.connectedSeconds),
    client.rttMs === null ? "" : `rtt ${formatMillis(client.rttMs)}`,
    client.services.map(escapeControl).join(", "),
  ]);
  const tunnels = status.tunnels.map((tunnel) => [
    `  ${escapeControl(tunnel.agent)} -> ${escapeControl(tunnel.connector)}`,
    `${formatBytes(tunnel.bytesForwarded)} forwarded`,
    tunnel.id,
  ]);
  return [
    headLine(status, paint),
    row("listens", status.listen ?? "nowhere", paint),
    row("public", status.public.length === 0 ? "not said" : status.public.join(", "), paint),
    row(
      "forwarded",
      `${formatBytes(status.forwarded.bytes)} in ${
        formatCount(status.forwarded.datagrams, "packet")
      }`,
      paint,
    ),
    row("dropped", dropped.length === 0 ? "nothing" : dropped.join(", "), paint),
    row("clients", status.clients.length === 0 ? "none" : String(status.clients.length), paint),
    ...bounded(formatTable(clients)),
    row("tunnels", status.tunnels.length === 0 ? "none" : String(status.tunnels.length), paint),
    ...bounded(formatTable(tunnels)),
  ];
}

/** A role's status as text, ending in a line break. */
export function renderStatus(status: Status, paint: Paint): string {
  const lines = status.role === "relay" ? relayLines(status, paint) : clientLines(status, paint);
  return `${lines.join("\n")}\n`;
}
