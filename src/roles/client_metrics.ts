/**
 * What a connector or an agent counts.
 * @module
 */
import type { Client } from "./client.ts";
import type { FlowLedger } from "./flow_ledger.ts";
import { byLabel, counter, gauge, type Metric, type MetricSample } from "./metric.ts";
import { processMetrics } from "./process_metrics.ts";
import { udpMetrics } from "./udp_metrics.ts";

/** All figures of a running client. */
export function clientMetrics(client: Client): Metric[] {
  const { flows, link, sockets, endpoint, identity } = client;
  const { router } = client.wiring;
  const relay = link.status();
  return [
    ...processMetrics(client.kind),
    ...flowMetrics(flows),
    gauge("postern_relay_connected", "Whether the relay has welcomed us", link.connected ? 1 : 0),
    gauge(
      "postern_relay_rtt_seconds",
      "Round trip to the relay, in seconds",
      relay.rttMs === null ? [] : [{ value: relay.rttMs / 1000 }],
    ),
    ...udpMetrics({ relay: sockets.relay, p2p: sockets.p2p }),
    counter(
      "postern_dropped_datagrams_total",
      "Datagrams that came and were dropped",
      byLabel("reason", { ...endpoint.counters, ...router.dropped }),
    ),
    gauge(
      "postern_certificate_expiry_timestamp_seconds",
      "When our certificate ends, in seconds since 1970",
      identity.notAfter / 1000,
    ),
  ];
}

/** Why a role that needs the relay cannot serve. */
export function relayAway({ link }: Client): string {
  return `the relay is out of reach${link.reason ? `: ${link.reason}` : ""}`;
}

/** Flows and tunnels. */
export function flowMetrics(flows: FlowLedger): Metric[] {
  const totals = flows.totals();
  const live = new Map<string, MetricSample & { value: number }>();
  const opened = new Map(flows.ended);
  const stalled = { application: 0, tunnel: 0 };
  const tunnels = { direct: 0, relayed: 0 };
  for (const tunnel of flows.tunnels) {
    if (!tunnel.isOpen) continue;
    const { path } = tunnel;
    tunnels[path]++;
    for (const flow of tunnel.mux.flows.values()) {
      const { service } = flow.info;
      const sample = live.get(`${path} ${service}`);
      if (sample) sample.value++;
      else live.set(`${path} ${service}`, { labels: { service, path }, value: 1 });
      if (flow.carried) opened.set(service, (opened.get(service) ?? 0) + 1);
      if (flow.stalledBy) stalled[flow.stalledBy]++;
    }
  }
  return [
    counter(
      "postern_flow_bytes_total",
      "Bytes that flows have moved; in: out of the tunnel to this end's applications, out: the other way",
      totals.flatMap(({ service, path, bytesIn, bytesOut }) => [
        { labels: { service, direction: "in", path }, value: bytesIn },
        { labels: { service, direction: "out", path }, value: bytesOut },
      ]),
    ),
    gauge("postern_flows", "Flows that are open", [...live.values()]),
    counter(
      "postern_flows_opened_total",
      "Flows that were opened",
      [...opened].map(([service, value]) => ({ labels: { service }, value })),
    ),
    gauge(
      "postern_flows_stalled",
      "Open flows that nothing moves in: this end's application does not take, or the tunnel does not",
      byLabel("by", stalled),
    ),
    counter(
      "postern_flow_dropped_packets_total",
      "Packets of UDP flows that were dropped at this end: the path, a flow or its socket took no more, or there was no such flow",
      byLabel("reason", { ...flows.udpDrops }),
    ),
    gauge("postern_tunnels", "Tunnels that are open, by the path in use", byLabel("path", tunnels)),
    counter(
      "postern_tunnel_path_changes_total",
      "How often tunnels have moved to another path",
      flows.pathChanges,
    ),
  ];
}
