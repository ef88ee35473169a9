/**
 * The head of one HTTP/1.1 request as a proxy hears it (RFC 9112 §2 to §5, CONNECT: RFC 9110 §9.3.6), and the answers.
 * Pure; any bytes in any pieces give a request or a refusal.
 * @module
 */
import {
  type Bytes,
  concatBytes,
  decodeUtf8Strict,
  encodeUtf8,
  type HostPort,
  parseHostPort,
} from "../core/mod.ts";

/** The longest head that is read, in bytes (common servers take 8 to 16 KiB): longer is answered with 431. */
export const MAX_HEAD_BYTES = 16 * 1024;

/** Answers that the proxy gives itself. */
export const HTTP_STATUS = {
  200: "Connection established",
  400: "Bad Request",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  431: "Request Header Fields Too Large",
  502: "Bad Gateway",
  504: "Gateway Timeout",
} as const;

/** One of {@linkcode HTTP_STATUS}. */
export type HttpStatus = keyof typeof HTTP_STATUS;

/** A request that a proxy can do something with. */
export type ProxyRequest =
  /** Open a tunnel. */
  | { readonly type: "connect"; readonly target: HostPort }
  /**
   * Plain HTTP for a service (absolute form, what browsers send for `http:` addresses): open a flow, send `head`, then go on
   * as with a tunnel. The head asks the service to close after its answer, as the next request may be for another.
   */
  | { readonly type: "forward"; readonly target: HostPort; readonly head: Bytes }
  /** Something of the proxy's own, like `/proxy.pac`. `host` is how the client reached the proxy, where it says so. */
  | {
    readonly type: "own";
    readonly path: string;
    readonly withBody: boolean;
    readonly host: HostPort | undefined;
  };

/** What the head turned out to be. */
export type HeadResult = ProxyRequest | {
  readonly type: "refused";
  readonly status: HttpStatus;
  readonly reason: string;
};

/** Reads one head. Holds {@linkcode MAX_HEAD_BYTES} and one chunk at most. */
export class HttpHeadReader {
  #held: Bytes = new Uint8Array();
  #scanned = 0;
  #result: HeadResult | undefined;

  /** Takes what came; answers once the head is complete or can no longer be one. */
  push(chunk: Uint8Array): HeadResult | undefined {
    this.#held = concatBytes(this.#held, chunk);
    if (this.#result) return this.#result;
    const end = this.#findEnd();
    if ((end ?? this.#held.length) > MAX_HEAD_BYTES) {
      return this.#result = refused(
        431,
        `Cannot read a request as its head is above ${MAX_HEAD_BYTES} bytes`,
      );
    }
    if (end === undefined) return undefined;
    const head = this.#held.subarray(0, end);
    this.#held = this.#held.slice(end);
    return this.#result = parseHead(head);
  }

  /** After the head: what the client has sent behind it. */
  get rest(): Bytes {
    return this.#held;
  }

  /** Just past the empty line that ends the head. Lines end in CRLF; LF alone is taken too (RFC 9112 §2.2). */
  #findEnd(): number | undefined {
    const held = this.#held;
    // Empty lines before a request are ignored (RFC 9112 §2.2).
    let start = 0;
    while (held[start] === CR || held[start] === LF) start++;
    for (let i = Math.max(this.#scanned, start); i < held.length; i++) {
      if (held[i] !== LF) continue;
      const before = held[i - 1] === CR ? i - 2 : i - 1;
      if (before >= start && held[before] === LF) return i + 1;
    }
    this.#scanned = held.length;
    return undefined;
  }
}

const CR = 13;
const LF = 10;

/** An answer of the proxy's own: a short text that says why, and the connection closes. 200 opens the tunnel. */
export function encodeHttpAnswer(
  status: HttpStatus,
  text = "",
  options: { contentType?: string; withBody?: boolean } = {},
): Bytes {
  const { contentType = "text/plain; charset=utf-8", withBody = true } = options;
  const body = encodeUtf8(text);
  const lines = [
    `HTTP/1.1 ${status} ${status === 200 && text !== "" ? "OK" : HTTP_STATUS[status]}`,
  ];
  if (status !== 200 || text !== "") {
    if (status === 405) lines.push("Allow: CONNECT, GET");
    lines.push(`Content-Type: ${contentType}`, `Content-Length: ${body.length}`);
    lines.push("Cache-Control: no-store", "Connection: close");
  }
  const head = encodeUtf8(`${lines.join("\r\n")}\r\n\r\n`);
  return withBody ? concatBytes(head, body) : head;
}

function parseHead(bytes: Uint8Array): HeadResult {
  const text = decodeUtf8Strict(bytes);
  // deno-lint-ignore no-control-regex -- these are the ones that have no place in a head
  if (text === undefined || /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)/.test(text)) {
    return refused(400, "Cannot read a request as its head is not text");
  }
  const lines = text.trim().split(/\r?\n/);
  const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) (\S+) HTTP\/1\.[01]$/.exec(lines[0]!);
  if (!match) return refused(400, "Cannot read a request as its first line is not HTTP/1.1");
  const fields = lines.slice(1);
  if (!fields.every((line) => /^[!#$%&'*+.^_`|~0-9A-Za-z-]+:/.test(line))) {
    return refused(400, "Cannot read a request as a header line has no name");
  }
  const [, method, target] = match as unknown as [string, string, string];
  if (method === "CONNECT") {
    const to = authority(target);
    return to
      ? { type: "connect", target: to }
      : refused(400, "Cannot open a tunnel as the target is not HOST:PORT");
  }
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(target)) return forward(method, target, fields);
  if (method !== "GET" && method !== "HEAD") {
    return refused(
      405,
      `Cannot serve ${method}: this is a proxy, use CONNECT or a full http:// address`,
    );
  }
  if (!target.startsWith("/")) {
    return refused(400, "Cannot read a request as its target is no path");
  }
  const host = fields.find((line) => /^host:/i.test(line))?.slice(5).trim();
  return {
    type: "own",
    path: target.split("?")[0]!,
    withBody: method === "GET",
    host: host === undefined ? undefined : authority(host, 80),
  };
}

/** Fields that end at a proxy (RFC 9110 §7.6.1), besides those that `Connection` names. */
const HOP_FIELDS = [
  "connection",
  "keep-alive",
  "proxy-connection",
  "proxy-authorization",
  "upgrade",
  "te",
];

function forward(method: string, target: string, fields: string[]): HeadResult {
  const match = /^http:\/\/([^/?#@]+)([/?][^#]*)?$/i.exec(target);
  const to = match ? authority(match[1]!, 80) : undefined;
  if (!match || !to) {
    return refused(400, "Cannot forward a request as its target is not http://HOST[:PORT]/PATH");
  }
  const named = fields.filter((line) => /^connection:/i.test(line))
    .flatMap((line) => line.slice(11).toLowerCase().split(",")).map((token) => token.trim());
  const drop = new Set([...HOP_FIELDS, ...named, "host"]);
  const kept = fields.filter((line) => !drop.has(line.slice(0, line.indexOf(":")).toLowerCase()));
  const after = match[2] ?? "/";
  const path = after.startsWith("/") ? after : `/${after}`;
  const lines = [`${method} ${path} HTTP/1.1`, `Host: ${match[1]}`, ...kept, "Connection: close"];
  return { type: "forward", target: to, head: encodeUtf8(`${lines.join("\r\n")}\r\n\r\n`) };
}

function authority(text: string, defaultPort?: number): HostPort | undefined {
  const full = defaultPort === undefined || /:\d+$/.test(text) ? text : `${text}:${defaultPort}`;
  try {
    return parseHostPort(full);
  } catch {
    return undefined;
  }
}

function refused(status: HttpStatus, reason: string): HeadResult {
  return { type: "refused", status, reason };
}
