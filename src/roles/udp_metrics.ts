/**
 * What UDP sockets count.
 * @module
 */
import type { UdpSocket } from "../sockets/mod.ts";
import { counter, type Metric, type MetricSample } from "./metric.ts";

/** UDP sockets by name. */
export function udpMetrics(sockets: Readonly<Record<string, UdpSocket>>): Metric[] {
  const each = (samples: (socket: string, of: UdpSocket) => MetricSample[]) =>
    Object.entries(sockets).flatMap(([name, socket]) => samples(name, socket));
  return [
    counter(
      "postern_udp_bytes_total",
      "UDP payload bytes",
      each((socket, { counters }) => [
        { labels: { socket, direction: "in" }, value: counters.bytesIn },
        { labels: { socket, direction: "out" }, value: counters.bytesOut },
      ]),
    ),
    counter(
      "postern_udp_datagrams_total",
      "UDP datagrams",
      each((socket, { counters }) => [
        { labels: { socket, direction: "in" }, value: counters.datagramsIn },
        { labels: { socket, direction: "out" }, value: counters.datagramsOut },
      ]),
    ),
    counter(
      "postern_udp_send_errors_total",
      "Datagrams that the system refused to send",
      each((socket, { counters }) => [{ labels: { socket }, value: counters.sendErrors }]),
    ),
    counter(
      "postern_udp_send_blocked_total",
      "How often the system's send buffer was full",
      each((socket, { counters }) => [{ labels: { socket }, value: counters.sendBlocked }]),
    ),
  ];
}
