/**
 * Waiting, in the three ways that roles do.
 * @module
 */

/** Between looks whether there is still something to wait for, in milliseconds: no person notices it at the end of a role. */
const LOOK_INTERVAL = 50;

/** Waits; returns early when aborted. */
export async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const done = Promise.withResolvers<void>();
  const stop = () => done.resolve();
  const timer = setTimeout(stop, ms);
  signal.addEventListener("abort", stop, { once: true });
  await done.promise;
  clearTimeout(timer);
  signal.removeEventListener("abort", stop);
}

/** Waits for as long as it takes; what keeps the process alive is what it serves. */
export function untilAborted(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => resolve(), { once: true });
  if (signal.aborted) resolve();
  return promise;
}

/** Waits until nothing is left, or the time is over. */
export async function untilIdle(left: () => number, graceMs: number): Promise<void> {
  const until = performance.now() + graceMs;
  const never = new AbortController().signal;
  while (left() > 0 && performance.now() < until) await sleep(LOOK_INTERVAL, never);
}
