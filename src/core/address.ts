/**
 * An IP address with a port: parsed once, compared by `key`, interned so that equal addresses are usually one object.
 * @module
 */
import ipaddr from "ipaddr.js";

/** An IPv4 or IPv6 address and a UDP or TCP port. IPv4-mapped IPv6 never occurs: it is IPv4 here. */
export interface Address {
  readonly family: 4 | 6;
  /** Canonical text (RFC 5952 for IPv6, without brackets). */
  readonly host: string;
  /** 0 to 65535. */
  readonly port: number;
  /** `host:port` or `[host]:port`: equal keys mean equal addresses. */
  readonly key: string;
}

/**
 * Interned addresses: 4096 of them hold every peer of a busy relay; when full the table starts anew
 * (interning only saves memory and time, so nothing is lost but a little of both).
 */
const MAX_INTERNED = 4096;
const interned = new Map<string, Address>();

function intern(host: string, port: number): Address {
  const raw = `${host} ${port}`;
  const known = interned.get(raw);
  if (known) return known;
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    throw new RangeError(`Cannot use port ${port} as it is not between 0 and 65535`);
  }
  // A zone index ("fe80::1%eth0") is kept out: it means nothing on another machine.
  const bare = host.includes("%") ? host.slice(0, host.indexOf("%")) : host;
  if (!ipaddr.IPv4.isValidFourPartDecimal(bare) && !ipaddr.IPv6.isValid(bare)) {
    throw new SyntaxError(`Cannot use "${host}" as an IP address as it is neither IPv4 nor IPv6`);
  }
  const parsed = ipaddr.process(bare);
  const family = parsed.kind() === "ipv4" ? 4 : 6;
  const canonical = family === 4
    ? parsed.toString()
    : (parsed as InstanceType<typeof ipaddr.IPv6>).toRFC5952String();
  const key = family === 4 ? `${canonical}:${port}` : `[${canonical}]:${port}`;
  const address: Address = { family, host: canonical, port, key };
  if (interned.size >= MAX_INTERNED) interned.clear();
  interned.set(raw, address);
  return address;
}

/**
 * An address from its parts.
 *
 * @throws {SyntaxError} where `host` is no IP address (names are resolved elsewhere)
 * @throws {RangeError} where `port` is no port
 */
export function addressOf(host: string, port: number): Address {
  return intern(host, port);
}

/** Host and port as a person writes them; the host may be a name. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/**
 * Splits `HOST:PORT`, `[V6]:PORT` or (with `defaultHost`) `PORT` or `:PORT`.
 *
 * @throws {SyntaxError} saying what is wrong and what would be right
 */
export function parseHostPort(text: string, options: { defaultHost?: string } = {}): HostPort {
  const match = /^(?:(?:\[([^\]]*)\]|([^:\[\]]*)):)?(\d{1,5})$/.exec(text);
  const port = match ? Number(match[3]) : NaN;
  const host = match?.[1] ?? (match?.[2] || options.defaultHost);
  const wanted = options.defaultHost === undefined
    ? `HOST:PORT, for example 127.0.0.1:8080 or [::1]:8080`
    : `PORT or HOST:PORT, for example 8080 or 127.0.0.1:8080`;
  if (!match || host === undefined || host === "") {
    throw new SyntaxError(`Cannot read "${text}" as an address: expected ${wanted}`);
  }
  if (port > 65535) {
    throw new SyntaxError(`Cannot read "${text}" as an address: port ${port} is above 65535`);
  }
  if (match[1] !== undefined && !ipaddr.IPv6.isValid(host)) {
    throw new SyntaxError(`Cannot read "${text}" as an address: "${host}" is not IPv6`);
  }
  return { host, port };
}

/** `host:port`, with brackets where the host is IPv6. */
export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Reads the `key` form back; `undefined` where the text is no IP address with a port. */
export function parseAddress(text: string): Address | undefined {
  try {
    const { host, port } = parseHostPort(text);
    return intern(host, port);
  } catch {
    return undefined;
  }
}
