/**
 * What a role was told on its command line, kept so that it can start again without being told.
 * @module
 */
import * as v from "valibot";
import { formatHostPort, type HostPort, parseHostPort, UserError } from "../core/mod.ts";
import { loadSettings, saveSettings, type StateFolder } from "../identity/mod.ts";
import { NameSchema } from "../identity/schemas.ts";
import type { ServiceAddress } from "./options.ts";

/** Services of one role; a command line of that many would be a config file. More is refused as a damaged file. */
const MAX_SERVICES = 256;

const HostPortSchema = v.pipe(
  v.string(),
  v.rawTransform(({ dataset, addIssue, NEVER }): HostPort => {
    try {
      return parseHostPort(dataset.value);
    } catch {
      addIssue({ message: "no HOST:PORT" });
      return NEVER;
    }
  }),
);

const ServicesSchema = v.pipe(
  v.array(v.object({
    service: NameSchema,
    protocol: v.picklist(["tcp", "udp"]),
    address: HostPortSchema,
  })),
  v.maxLength(MAX_SERVICES),
);

const EntrancesSchema = v.object({
  forwards: ServicesSchema,
  socks: v.nullish(HostPortSchema),
  httpProxy: v.nullish(HostPortSchema),
});

const OffersSchema = v.object({
  services: ServicesSchema,
  noEarlyDataFor: v.optional(v.pipe(v.array(NameSchema), v.maxLength(MAX_SERVICES)), []),
});

/** What a connector offers. */
export interface Offers {
  readonly services: readonly ServiceAddress[];
  /** Those whose flows wait for the handshake. */
  readonly noEarlyDataFor: readonly string[];
}

/** What an agent opens locally. */
export interface Entrances {
  readonly forwards: readonly ServiceAddress[];
  readonly socks?: HostPort | undefined;
  readonly httpProxy?: HostPort | undefined;
}

function toJson(services: readonly ServiceAddress[]): unknown[] {
  return services.map(({ service, protocol, address }) => ({
    service,
    protocol,
    address: formatHostPort(address),
  }));
}

/**
 * What an agent was given, kept for the next start; or, where it was given nothing, what was kept.
 *
 * @throws {UserError} where there is neither
 * @throws {StateError} where what was kept is damaged
 */
export async function rememberEntrances(
  folder: StateFolder,
  given: Entrances,
): Promise<Entrances> {
  const { forwards, socks, httpProxy } = given;
  if (forwards.length > 0 || socks || httpProxy) {
    await saveSettings(folder, {
      forwards: toJson(forwards),
      socks: socks ? formatHostPort(socks) : null,
      httpProxy: httpProxy ? formatHostPort(httpProxy) : null,
    });
    return given;
  }
  const kept = await loadSettings(folder, EntrancesSchema);
  if (!kept) {
    throw new UserError("Cannot start agent as it is not told which services to open where", {
      next: "postern agent SERVICE=PORT",
    });
  }
  return {
    forwards: kept.forwards,
    socks: kept.socks ?? undefined,
    httpProxy: kept.httpProxy ?? undefined,
  };
}

/**
 * As {@linkcode rememberEntrances}, for what a connector offers. Who opts services out of early data without naming targets
 * keeps the targets.
 *
 * @throws {UserError} also where a service is opted out that is not offered: it would be protected in name only
 */
export async function rememberOffers(folder: StateFolder, given: Offers): Promise<Offers> {
  const kept = given.services.length > 0 ? undefined : await loadSettings(folder, OffersSchema);
  const services = kept?.services ?? given.services;
  if (services.length === 0) {
    throw new UserError("Cannot start connector as it is not told where its services are", {
      next: "postern connector SERVICE=HOST:PORT",
    });
  }
  const noEarlyDataFor = kept && given.noEarlyDataFor.length === 0
    ? kept.noEarlyDataFor
    : given.noEarlyDataFor;
  const names = services.map(({ service }) => service);
  const stray = noEarlyDataFor.find((name) => !names.includes(name as never));
  if (stray !== undefined) {
    throw new UserError(`Cannot take "${stray}" out of early data as it is not offered here`, {
      next: `--no-early-data-for with one of: ${names.join(", ")}`,
    });
  }
  if (!kept || noEarlyDataFor !== kept.noEarlyDataFor) {
    await saveSettings(folder, { services: toJson(services), noEarlyDataFor });
  }
  return { services, noEarlyDataFor };
}
