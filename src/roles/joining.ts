/**
 * How a connector or an agent comes to its identity: from its state folder, or with an invite, waiting for the relay as
 * long as it takes.
 * @module
 */
import { type Clock, type Logger, messageOf } from "../core/mod.ts";
import {
  type ClientIdentity,
  enrol,
  EnrolmentError,
  loadClientIdentity,
  noIdentityError,
  parseInvite,
  type StateFolder,
} from "../identity/mod.ts";
import { sleep } from "./waiting.ts";

/** Ceiling of the first wait for a relay that is not there, in milliseconds; doubled each time, up to the last. */
const RETRY_MS = { first: 500, most: 15_000 } as const;

/** What {@linkcode join} needs. */
export interface JoinOptions {
  readonly invite?: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** An identity, and what the relay said at the first start about what it is for. */
export interface Joined {
  readonly identity: ClientIdentity;
  /** Keys of connectors that the invite names. */
  readonly pins: readonly { name: string; pin: string }[];
}

/**
 * The identity in the folder, or a new one by the invite.
 *
 * @throws {EnrolmentError} where the relay refuses for good
 * @throws {StateError} where there is neither identity nor invite, or the folder is unusable
 */
export async function join(folder: StateFolder, options: JoinOptions): Promise<Joined> {
  if (options.invite === undefined) {
    const identity = await loadClientIdentity(folder);
    if (!identity) throw noIdentityError(folder);
    return { identity, pins: [] };
  }
  const invite = parseInvite(options.invite);
  for (let failures = 0;; failures++) {
    try {
      const now = options.clock.unix();
      const { identity } = await enrol(folder, invite, { now, signal: options.signal });
      return { identity, pins: invite.pins };
    } catch (error) {
      options.signal.throwIfAborted();
      if (!(error instanceof EnrolmentError) || !error.retryable) throw error;
      await pause(failures, options, messageOf(error));
    }
  }
}

/** Full jitter, as `Reconnect` does. */
async function pause(
  failures: number,
  { log, signal }: Pick<JoinOptions, "log" | "signal">,
  reason: string,
): Promise<void> {
  const ceiling = Math.min(RETRY_MS.most, RETRY_MS.first * 2 ** Math.min(failures, 10));
  const retryInMs = Math.round(Math.random() * ceiling);
  log.warn("waiting for the relay", { reason, retryInMs });
  await sleep(retryInMs, signal);
}
