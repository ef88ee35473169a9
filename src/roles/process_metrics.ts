/**
 * Figures that every process has, by the names that Prometheus' own libraries give them.
 * @module
 */
import process from "node:process";
import { VERSION } from "../core/version.ts";
import { counter, gauge, type Metric } from "./metric.ts";

const STARTED_AT = Date.now() - performance.now();

/** Of this process, which runs that role. */
export function processMetrics(role: string): Metric[] {
  const { user, system } = process.cpuUsage();
  const files = openFiles();
  return [
    gauge("postern_build_info", "Which program this is; always 1", [{
      labels: { version: VERSION, role, runtime: `deno ${Deno.version.deno}` },
      value: 1,
    }]),
    counter(
      "process_cpu_seconds_total",
      "Processor time used, in seconds",
      (user + system) / 1e6,
    ),
    gauge("process_resident_memory_bytes", "Memory in use, in bytes", Deno.memoryUsage().rss),
    gauge(
      "process_start_time_seconds",
      "When it was started, in seconds since 1970",
      Math.round(STARTED_AT) / 1000,
    ),
    ...files === undefined ? [] : [gauge("process_open_fds", "Open file descriptors", files)],
  ];
}

/** Linux only. */
function openFiles(): number | undefined {
  try {
    return [...Deno.readDirSync("/proc/self/fd")].length;
  } catch {
    return undefined;
  }
}
