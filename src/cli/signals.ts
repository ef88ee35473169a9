/**
 * The person's wish to stop: once asks, twice insists.
 * @module
 */

/** Exit codes of a process ended by a signal: 128 + the signal's number. */
const EXIT_CODES: Partial<Record<Deno.Signal, number>> = {
  SIGINT: 130,
  SIGTERM: 143,
  SIGBREAK: 149,
};

/** Signals that ask to stop, where the system has them. */
const STOP_SIGNALS: readonly Deno.Signal[] = Deno.build.os === "windows"
  ? ["SIGINT", "SIGBREAK"]
  : ["SIGINT", "SIGTERM"];

/** How the process is told to stop. */
export interface StopSignals {
  /** Aborted by the first signal: drain. */
  readonly signal: AbortSignal;
  /** Stops listening for signals. */
  dispose(): void;
}

/**
 * Listens for SIGINT and SIGTERM: the first aborts `signal`, the second ends the process at once with 130 or 143.
 *
 * @param onStop told of the first one
 */
export function listenForStop(onStop: (name: Deno.Signal) => void = () => {}): StopSignals {
  const controller = new AbortController();
  const handlers = STOP_SIGNALS.map((name) => {
    const handler = () => {
      if (controller.signal.aborted) Deno.exit(EXIT_CODES[name] ?? 1);
      onStop(name);
      controller.abort(new DOMException(`Stopped by ${name}`, "AbortError"));
    };
    Deno.addSignalListener(name, handler);
    return { name, handler };
  });
  return {
    signal: controller.signal,
    dispose() {
      for (const { name, handler } of handlers) Deno.removeSignalListener(name, handler);
    },
  };
}
