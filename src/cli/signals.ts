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
  /** Asks to stop as a signal does. */
  stop(reason: string): void;
  /** Stops listening for signals. */
  dispose(): void;
}

/** What may ask for it beside signals. */
export interface StopOptions {
  /** The end of stdin asks, too: whoever held its other end is gone, be it without a word. @default false */
  readonly withStdin?: boolean;
}

/**
 * Listens for SIGINT and SIGTERM: the first aborts `signal`, the second ends the process at once with 130 or 143.
 *
 * @param onStop told of the first one
 */
export function listenForStop(
  onStop: (name: Deno.Signal | "stdin") => void = () => {},
  options: StopOptions = {},
): StopSignals {
  const controller = new AbortController();
  const ask = (name: Deno.Signal | "stdin") => {
    onStop(name);
    controller.abort(new DOMException(`Stopped by ${name}`, "AbortError"));
  };
  const handlers = STOP_SIGNALS.map((name) => {
    const handler = () => {
      if (controller.signal.aborted) Deno.exit(EXIT_CODES[name] ?? 1);
      ask(name);
    };
    Deno.addSignalListener(name, handler);
    return { name, handler };
  });
  if (options.withStdin) {
    stdinEnds().then(() => {
      if (!controller.signal.aborted) ask("stdin");
    });
  }
  return {
    signal: controller.signal,
    stop: (reason) => controller.abort(new DOMException(reason, "AbortError")),
    dispose() {
      for (const { name, handler } of handlers) Deno.removeSignalListener(name, handler);
    },
  };
}

/** Resolves when nobody can write to stdin any more. */
async function stdinEnds(): Promise<void> {
  const buffer = new Uint8Array(64);
  try {
    while (await Deno.stdin.read(buffer) !== null);
  } catch { /* it cannot be read: the same as its end */ }
}
