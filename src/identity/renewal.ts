/**
 * Keeping a certificate fresh for as long as a role runs.
 * @module
 */
import { type Clock, type Logger, messageOf, type Random } from "../core/mod.ts";
import { renewalTime } from "./certificates.ts";
import type { ClientIdentity } from "./client_identity.ts";
import { type Enrolled, renew } from "./enrol.ts";
import { EnrolmentError } from "./enrolment_error.ts";
import type { StateFolder } from "./state_folder.ts";

const MINUTE = 60_000;
/** Looked at hourly: timers stand still while a laptop sleeps, the wall clock does not. */
const LOOK_EVERY_MS = 60 * MINUTE;
/** Tried again after one to thirty minutes: two days and a third are left for it. */
const FIRST_RETRY_MS = MINUTE;
const MAX_RETRY_MS = 30 * MINUTE;

/** How to keep it fresh. */
export interface RenewalOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** Ends it. */
  readonly signal: AbortSignal;
  /** Told of each fresh certificate: new connections take it, those that run go on. */
  readonly onRenewed: (enrolled: Enrolled) => void;
  /** Told when the relay will never renew it (revoked, joined anew elsewhere); it then ends. */
  readonly onRefused?: (error: EnrolmentError) => void;
  /** Spreads retries. @default Math.random */
  readonly random?: Random;
}

/**
 * Renews the certificate whenever a third of its life is left, until the signal aborts or the relay refuses for good. Resolves then;
 * never rejects.
 */
export async function keepRenewed(
  folder: StateFolder,
  identity: ClientIdentity,
  options: RenewalOptions,
): Promise<void> {
  const { clock, log, signal, random = Math.random } = options;
  let current = identity;
  let failures = 0;
  while (!signal.aborted) {
    const due = renewalTime(current) - clock.unix();
    if (due > 0) {
      await sleep(Math.min(due, LOOK_EVERY_MS), signal);
      continue;
    }
    try {
      const enrolled = await renew(folder, current, { signal });
      current = enrolled.identity;
      failures = 0;
      log.info("certificate renewed", { until: new Date(current.notAfter).toISOString() });
      options.onRenewed(enrolled);
      // Where the clocks of relay and client are days apart, even a fresh certificate looks due.
      await sleep(LOOK_EVERY_MS, signal);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof EnrolmentError && !error.retryable) {
        log.error("certificate not renewed", { why: error.message });
        options.onRefused?.(error);
        return;
      }
      const retry = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** failures++);
      log.warn("certificate not renewed yet", { why: messageOf(error) });
      await sleep(retry * (0.5 + random() / 2), signal);
    }
  }
}

function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener("abort", done);
  });
}
