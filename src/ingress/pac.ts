/**
 * The proxy auto-configuration file that sends `*.postern` to the agent, and nothing else.
 * @module
 */
import { formatHostPort, type HostPort } from "../core/mod.ts";
import { SERVICE_DOMAIN } from "./service_host.ts";

/** Where the agent's proxies listen, as the browser reaches them. */
export interface PacProxies {
  readonly http: HostPort;
  readonly socks?: HostPort | undefined;
}

/** The media type to serve it with. */
export const PAC_CONTENT_TYPE = "application/x-ns-proxy-autoconfig";

/**
 * The text of the file. There is no `DIRECT` behind a service name, so that a stopped agent means an error page and
 * never a look-up in the public DNS.
 *
 * @throws {SyntaxError} where a host holds what no host name or address holds
 */
export function pacFile({ http, socks }: PacProxies): string {
  const ways = [`PROXY ${hostPort(http)}`];
  if (socks) ways.push(`SOCKS5 ${hostPort(socks)}`);
  return `function FindProxyForURL(url, host) {
  if (shExpMatch(host, "*.${SERVICE_DOMAIN}") || shExpMatch(host, "*.${SERVICE_DOMAIN}.")) {
    return "${ways.join("; ")}";
  }
  return "DIRECT";
}
`;
}

/** Only what a host may hold: the text lands inside a script. */
function hostPort(at: HostPort): string {
  if (!/^[A-Za-z0-9.:-]{1,253}$/.test(at.host)) {
    throw new SyntaxError(`Cannot write a PAC file as "${at.host}" is no host`);
  }
  return formatHostPort(at);
}
