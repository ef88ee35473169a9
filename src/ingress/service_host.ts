/**
 * Names by which applications ask a proxy for a service: `web.postern`, at any port (the connector knows the real one).
 * Everything else is refused here, so nothing that comes to a proxy ever reaches the open internet.
 * @module
 */

/** The top-level name under which services live at the agent's proxies. Not in the public DNS. */
export const SERVICE_DOMAIN = "postern";

/** The service that a host name stands for, or why it stands for none (action first, no final period). */
export type ServiceHost = { readonly service: string } | { readonly refused: string };

/** Longest host name that a refusal repeats; DNS allows 253. */
const MAX_SHOWN = 253;

/** Reads `NAME.postern`, in any case, with or without the final dot. Total. */
export function serviceOfHost(host: string): ServiceHost {
  const name = host.toLowerCase();
  const match = /^([a-z0-9-]{1,63})\.postern\.?$/.exec(name);
  if (match) return { service: match[1]! };
  // deno-lint-ignore no-control-regex -- what came from a stranger is shown without control characters
  const shown = host.slice(0, MAX_SHOWN).replace(/[\x00-\x1f\x7f-\x9f]/g, "?");
  const why = /^[0-9.]+$/.test(name) || name.includes(":")
    ? "it is an address, and this proxy leads to services only"
    : "this proxy leads to services only";
  return { refused: `Cannot open "${shown}" as ${why}: ask for NAME.${SERVICE_DOMAIN}` };
}
