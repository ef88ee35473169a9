/**
 * A figure for programs that watch: read when somebody asks, named as Prometheus wants it.
 * @module
 */

/** One figure, with one sample for each set of labels. */
export interface Metric {
  /** In snake case, with its unit; counters end in `_total`. */
  readonly name: string;
  /** What it says, in one sentence without its period. */
  readonly help: string;
  readonly type: "counter" | "gauge";
  readonly samples: readonly MetricSample[];
}

/** One value of a {@linkcode Metric}. */
export interface MetricSample {
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A figure that only grows. */
export function counter(name: string, help: string, samples: number | MetricSample[]): Metric {
  return { name, help, type: "counter", samples: toSamples(samples) };
}

/** A figure that goes up and down. */
export function gauge(name: string, help: string, samples: number | MetricSample[]): Metric {
  return { name, help, type: "gauge", samples: toSamples(samples) };
}

function toSamples(samples: number | MetricSample[]): MetricSample[] {
  return typeof samples === "number" ? [{ value: samples }] : samples;
}

/** One sample for each entry: its key, in snake case, is the label's value. */
export function byLabel(label: string, values: Readonly<Record<string, number>>): MetricSample[] {
  return Object.entries(values).map(([key, value]) => ({
    labels: { [label]: key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`) },
    value,
  }));
}

/**
 * All figures in Prometheus' text format. The library is loaded at the first call, as most processes are never asked.
 */
export async function renderMetrics(
  metrics: readonly Metric[],
): Promise<{ text: string; contentType: string }> {
  const { Counter, Gauge, Registry } = await import("prom-client");
  const registry = new Registry();
  for (const { name, help, type, samples } of metrics) {
    // The library would make one up, of value 0.
    if (samples.length === 0) continue;
    const labelNames = Object.keys(samples[0]!.labels ?? {});
    const options = { name, help, labelNames, registers: [registry] };
    const metric = type === "counter" ? new Counter(options) : new Gauge(options);
    for (const { labels, value } of samples) metric.inc({ ...labels }, value);
  }
  return { text: await registry.metrics(), contentType: registry.contentType };
}
