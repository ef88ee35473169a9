/**
 * SOCKS5 as a server hears and speaks it: RFC 1928 with CONNECT and UDP ASSOCIATE, RFC 1929 where a password is set.
 * Pure; any bytes in any pieces give events or a refusal.
 *
 * ```
 * client: 05 n methods[n]                      server: 05 method            (00 none, 02 password, FF go away)
 * client: 01 n user[n] m password[m]           server: 01 status            (RFC 1929, only after method 02)
 * client: 05 command 00 type address port[2]   server: 05 reply 00 type address port[2]
 * types:  01 ip[4]    03 n name[n]    04 ip[16]
 * UDP:    00 00 fragment type address port[2] payload
 * ```
 * @module
 */
import {
  type Address,
  type Bytes,
  concatBytes,
  decodeUtf8,
  encodeUtf8,
  equalBytes,
  parseAddress,
} from "../core/mod.ts";

/** What a SOCKS5 server can answer (RFC 1928 §6). */
export const SOCKS5_REPLY = {
  succeeded: 0,
  generalFailure: 1,
  notAllowed: 2,
  networkUnreachable: 3,
  hostUnreachable: 4,
  connectionRefused: 5,
  ttlExpired: 6,
  commandNotSupported: 7,
  addressTypeNotSupported: 8,
} as const;

/** One of {@linkcode SOCKS5_REPLY}. */
export type Socks5Reply = typeof SOCKS5_REPLY[keyof typeof SOCKS5_REPLY];

/** Host and port as a client names them; the host is a name, or an address in its usual text. */
export interface Socks5Target {
  readonly host: string;
  readonly port: number;
}

/** What the reader found, in order. */
export type Socks5Event =
  /** Send these bytes and go on reading. */
  | { readonly type: "send"; readonly bytes: Bytes }
  /** The client's request is complete; answer it with {@linkcode encodeSocks5Reply}. Nothing follows. */
  | {
    readonly type: "request";
    readonly command: "connect" | "udp-associate";
    readonly target: Socks5Target;
  }
  /** Send these bytes, if any, and close. Nothing follows. */
  | { readonly type: "refused"; readonly bytes: Bytes; readonly reason: string };

/** RFC 1929: what the client must know. */
export interface Socks5Credentials {
  readonly username: string;
  readonly password: string;
}

const NO_METHOD = Uint8Array.of(5, 0xff);
const NOTHING = new Uint8Array();

/** Reads one client's handshake. Holds no more than one unfinished message (515 bytes) and what followed the request. */
export class Socks5Reader {
  readonly #credentials: Socks5Credentials | undefined;
  #state: "greeting" | "password" | "request" | "done" = "greeting";
  #held: Bytes = NOTHING;
  readonly #events: Socks5Event[] = [];

  constructor(options: { credentials?: Socks5Credentials | undefined } = {}) {
    this.#credentials = options.credentials;
  }

  /** Takes what came; call {@linkcode poll} after. */
  push(chunk: Uint8Array): void {
    this.#held = concatBytes(this.#held, chunk);
    while (this.#state !== "done" && this.#step());
  }

  /** The next event, until `undefined`. */
  poll(): Socks5Event | undefined {
    return this.#events.shift();
  }

  /** After the request: what the client has sent behind it. */
  get rest(): Bytes {
    return this.#held;
  }

  /** Reads one message; false where it is not all there. */
  #step(): boolean {
    switch (this.#state) {
      case "greeting":
        return this.#readGreeting();
      case "password":
        return this.#readPassword();
      default:
        return this.#readRequest();
    }
  }

  #readGreeting(): boolean {
    const [version, count] = this.#held;
    if (version === undefined) return false;
    if (version !== 5) return this.#refuse(NOTHING, wrongVersion(version));
    if (count === undefined || this.#held.length < 2 + count) return false;
    const methods = this.#take(2 + count).subarray(2);
    const wanted = this.#credentials ? 2 : 0;
    if (!methods.includes(wanted)) {
      const why = this.#credentials
        ? "the client offers no password"
        : "the client insists on a password";
      return this.#refuse(NO_METHOD, `Cannot serve a SOCKS5 client as ${why}`);
    }
    this.#events.push({ type: "send", bytes: Uint8Array.of(5, wanted) });
    this.#state = this.#credentials ? "password" : "request";
    return true;
  }

  #readPassword(): boolean {
    const held = this.#held;
    if (held.length === 0) return false;
    const failed = Uint8Array.of(1, 1);
    if (held[0] !== 1) {
      return this.#refuse(
        failed,
        `Cannot read a SOCKS5 password as its version is ${held[0]}, not 1`,
      );
    }
    const userEnd = 2 + (held[1] ?? Infinity);
    const end = userEnd + 1 + (held[userEnd] ?? Infinity);
    if (held.length < end) return false;
    const message = this.#take(end);
    const { username, password } = this.#credentials!;
    // Both are compared, whatever the first says, so that time tells nothing.
    const userGood = equalBytes(message.subarray(2, userEnd), encodeUtf8(username));
    const passwordGood = equalBytes(message.subarray(userEnd + 1), encodeUtf8(password));
    if (!(userGood && passwordGood)) {
      return this.#refuse(failed, "Cannot serve a SOCKS5 client as its name or password is wrong");
    }
    this.#events.push({ type: "send", bytes: Uint8Array.of(1, 0) });
    this.#state = "request";
    return true;
  }

  #readRequest(): boolean {
    const held = this.#held;
    const [version, command] = held;
    if (version === undefined) return false;
    if (version !== 5) return this.#refuse(NOTHING, wrongVersion(version));
    if (held.length < 4) return false;
    const parsed = readTarget(held, 3);
    if (parsed === "short") return false;
    if (parsed === "type") {
      return this.#refuse(
        encodeSocks5Reply(SOCKS5_REPLY.addressTypeNotSupported),
        `Cannot serve a SOCKS5 request as its address type is ${held[3]}`,
      );
    }
    this.#take(parsed.end);
    if (command !== 1 && command !== 3) {
      return this.#refuse(
        encodeSocks5Reply(SOCKS5_REPLY.commandNotSupported),
        `Cannot serve a SOCKS5 request as its command is ${command === 2 ? "BIND" : command}`,
      );
    }
    this.#events.push({
      type: "request",
      command: command === 1 ? "connect" : "udp-associate",
      target: parsed.target,
    });
    this.#state = "done";
    return true;
  }

  #take(length: number): Bytes {
    const message = this.#held.subarray(0, length);
    this.#held = this.#held.slice(length);
    return message;
  }

  #refuse(bytes: Bytes, reason: string): boolean {
    this.#events.push({ type: "refused", bytes, reason });
    this.#state = "done";
    return true;
  }
}

/** The server's answer to a request; `bound` is where the server listens for UDP ASSOCIATE. */
export function encodeSocks5Reply(reply: Socks5Reply, bound?: Address): Bytes {
  const host = bound?.host ?? "0.0.0.0";
  return concatBytes(Uint8Array.of(5, reply, 0), encodeTarget({ host, port: bound?.port ?? 0 }));
}

/** One datagram as it travels between a client and the server's UDP port. */
export interface Socks5Datagram {
  readonly target: Socks5Target;
  readonly payload: Uint8Array;
}

/** Reads a client's datagram; total. Fragments are dropped, as RFC 1928 §7 lets a server do. */
export function decodeSocks5Datagram(
  bytes: Uint8Array,
): { ok: Socks5Datagram } | { refused: string } {
  if (bytes.length < 4) return { refused: "Cannot read a SOCKS5 datagram as it is too short" };
  if (bytes[2] !== 0) return { refused: "Cannot read a SOCKS5 datagram as it is a fragment" };
  const parsed = readTarget(bytes, 3);
  if (parsed === "short") return { refused: "Cannot read a SOCKS5 datagram as it is too short" };
  if (parsed === "type") {
    return { refused: `Cannot read a SOCKS5 datagram as its address type is ${bytes[3]}` };
  }
  return { ok: { target: parsed.target, payload: bytes.subarray(parsed.end) } };
}

/**
 * A datagram for the client. The target is the sender, written as the client wrote it when it asked.
 *
 * @throws {RangeError} where the host is longer than 255 bytes
 */
export function encodeSocks5Datagram({ target, payload }: Socks5Datagram): Bytes {
  return concatBytes(new Uint8Array(3), encodeTarget(target), payload);
}

function readTarget(
  bytes: Uint8Array,
  at: number,
): { target: Socks5Target; end: number } | "short" | "type" {
  const type = bytes[at];
  let start = at + 1;
  let length: number;
  if (type === 1) length = 4;
  else if (type === 4) length = 16;
  else if (type === 3) {
    const named = bytes[start++];
    if (named === undefined) return "short";
    length = named;
  } else return "type";
  const end = start + length + 2;
  if (bytes.length < end) return "short";
  const raw = bytes.subarray(start, start + length);
  const host = type === 1 ? raw.join(".") : type === 4 ? ipv6Text(raw) : decodeUtf8(raw);
  const port = bytes[end - 2]! << 8 | bytes[end - 1]!;
  return { target: { host, port }, end };
}

function ipv6Text(raw: Uint8Array): string {
  const groups: string[] = [];
  for (let i = 0; i < 16; i += 2) groups.push((raw[i]! << 8 | raw[i + 1]!).toString(16));
  return groups.join(":");
}

function encodeTarget({ host, port }: Socks5Target): Bytes {
  const portBytes = Uint8Array.of(port >> 8, port & 0xff);
  const address = parseAddress(host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`);
  if (address?.family === 4) {
    return concatBytes(Uint8Array.of(1, ...address.host.split(".").map(Number)), portBytes);
  }
  if (address?.family === 6) {
    return concatBytes(Uint8Array.of(4), ipv6Bytes(address.host), portBytes);
  }
  const name = encodeUtf8(host);
  if (name.length > 255) {
    throw new RangeError(`Cannot encode a host of ${name.length} bytes for SOCKS5: 255 at most`);
  }
  return concatBytes(Uint8Array.of(3, name.length), name, portBytes);
}

/** Of canonical text without an IPv4 tail. */
function ipv6Bytes(host: string): Bytes {
  const [head = "", tail = ""] = host.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === "" ? [] : tail.split(":");
  const zeros = new Array<string>(8 - left.length - right.length).fill("0");
  const groups = [...left, ...zeros, ...right].map((group) => parseInt(group, 16));
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff]));
}

function wrongVersion(version: number): string {
  const guess = version === 4
    ? "the client speaks SOCKS4"
    : version >= 0x41 && version <= 0x5a
    ? "the client seems to speak HTTP"
    : `the version is ${version}, not 5`;
  return `Cannot serve a SOCKS5 client as ${guess}`;
}
