/**
 * What the status says of paths and early data, in words: what is so, and nothing that is not.
 * @module
 */
import { sleep } from "../waiting.ts";
import type { ClientStatus, EarlyDataState, TunnelStatus } from "../status.ts";
import { formatMs, type StepResult } from "./report.ts";

/** How long to wait for a direct path, in milliseconds: it takes a few round trips where there is one. */
const DIRECT_WITHIN_MS = 2_500;
/** A reason that has stood so long is the answer, in milliseconds. */
const REASON_STANDS_MS = 1_000;
const LOOK_INTERVAL_MS = 50;

/** Waits a little for the agent's tunnel to go direct, unless it says why it will not; answers the tunnel. */
export async function watchPath(
  look: () => Promise<ClientStatus | undefined>,
  options: { readonly noDirect: boolean; readonly signal: AbortSignal },
): Promise<TunnelStatus | undefined> {
  const started = performance.now();
  let reason: string | null = null;
  let since = started;
  for (;;) {
    const tunnel = (await look())?.tunnels[0];
    const now = performance.now();
    const why = tunnel?.whyRelayed ?? null;
    if (why !== reason) since = now;
    reason = why;
    const settled = tunnel?.path === "direct" || options.noDirect ||
      (reason !== null && now - since > REASON_STANDS_MS);
    if (settled || options.signal.aborted || now - started > DIRECT_WITHIN_MS) return tunnel;
    await sleep(LOOK_INTERVAL_MS, options.signal);
  }
}

/** The path in use. */
export function describePath(
  tunnel: TunnelStatus | undefined,
  options: { readonly noDirect: boolean },
): StepResult {
  if (!tunnel) throw new Error("the agent has no tunnel");
  if (tunnel.path === "direct") {
    const after = tunnel.directAfterMs === null
      ? ""
      : `, ${formatMs(tunnel.directAfterMs)} after the tunnel was asked for`;
    return {
      result: `in use${after}`,
      detail: `to ${tunnel.remote ?? "?"}; the relay is no longer on the way`,
    };
  }
  if (options.noDirect) return { result: "relayed, as asked for with --no-direct" };
  return {
    result: "relayed",
    detail: tunnel.whyRelayed === null
      ? "it did not move to a direct path while the demo waited"
      : `why: ${tunnel.whyRelayed}`,
  };
}

const EARLY_WORDS: Readonly<Record<EarlyDataState, string>> = {
  accepted: "first bytes in its first flight (0-RTT accepted)",
  refused: "0-RTT was refused, so a handshake came first",
  none: "a handshake came first (no 0-RTT)",
};

/** How a returning agent got in. */
export function describeReturn(
  status: ClientStatus | undefined,
  tunnel: TunnelStatus | undefined,
): string[] {
  const lines = [];
  const { earlyData, connectMs } = status?.relay ?? {};
  if (earlyData) lines.push(`relay: ${EARLY_WORDS[earlyData]}${timed(connectMs)}`);
  if (tunnel?.earlyData) {
    lines.push(`tunnel: ${EARLY_WORDS[tunnel.earlyData]}${timed(tunnel.openedMs)}`);
  }
  return lines;
}

function timed(ms: number | null | undefined): string {
  return ms === null || ms === undefined ? "" : `, ${formatMs(ms)}`;
}
