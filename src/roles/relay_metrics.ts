/**
 * What a relay counts.
 * @module
 */
import type { UnixMillis } from "../core/mod.ts";
import type { UdpSocket } from "../sockets/mod.ts";
import { byLabel, counter, gauge, type Metric } from "./metric.ts";
import { processMetrics } from "./process_metrics.ts";
import type { RelayStatus } from "./status.ts";
import { udpMetrics } from "./udp_metrics.ts";

/** All figures of a running relay. `notAfter`: when its certificate ends. */
export function relayMetrics(
  status: RelayStatus,
  { socket, notAfter }: { socket: UdpSocket; notAfter: UnixMillis },
): Metric[] {
  const clients = { connector: 0, agent: 0 };
  for (const { kind } of status.clients) clients[kind]++;
  return [
    ...processMetrics("relay"),
    gauge("postern_relay_clients", "Clients that are connected", byLabel("kind", clients)),
    gauge("postern_relay_tunnels", "Tunnels that were introduced", status.tunnels.length),
    counter(
      "postern_relay_forwarded_bytes_total",
      "Bytes of sealed datagrams that were forwarded",
      status.forwarded.bytes,
    ),
    counter(
      "postern_relay_forwarded_datagrams_total",
      "Sealed datagrams that were forwarded",
      status.forwarded.datagrams,
    ),
    counter(
      "postern_dropped_datagrams_total",
      "Datagrams that came and were dropped",
      byLabel("reason", status.dropped),
    ),
    counter(
      "postern_early_messages_total",
      "Messages that came as early data (0-RTT), by what became of them",
      byLabel("result", { ...status.early }),
    ),
    ...udpMetrics({ relay: socket }),
    gauge(
      "postern_certificate_expiry_timestamp_seconds",
      "When the relay's certificate ends, in seconds since 1970",
      notAfter / 1000,
    ),
  ];
}
