/**
 * Enrolment over HTTPS: TCP on the same port number as QUIC. One request a connection, everything bounded.
 *
 * It is a server of its own rather than the runtime's, as strangers reach it: here each connection has a deadline from
 * its first byte, its handshake included, and there are only so many.
 * @module
 */
import {
  type Address,
  addressOf,
  type Bytes,
  type Clock,
  decodeUtf8Strict,
  type HostPort,
  type Logger,
  messageOf,
} from "../core/mod.ts";
import {
  type EnrolmentErrorCode,
  MAX_ENROLMENT_REQUEST_BYTES,
  REDEEM_PATH,
  RENEW_PATH,
} from "../identity/enrolment_messages.ts";
import {
  encodeHttpMessage,
  type HttpMessage,
  HttpMessageReader,
} from "../identity/http_message.ts";
import type { RelayCertificate } from "./authority.ts";
import type { Enrolment } from "./enrolment.ts";
import { EnrolmentRefusal } from "./enrolment_refusal.ts";
import { RateLimit } from "../core/rate_limit.ts";

/** Ten seconds for everything from accept to answer: a slow mobile link needs three. */
const CONNECTION_TIMEOUT_MS = 10_000;
/** Connections at once: each holds at most 24 KiB and a TLS state. What is beyond is closed at once; clients try again. */
const MAX_CONNECTIONS = 256;
/** A hundred at once and twenty a second for one address: an office behind one NAT joins, a flood does not. */
const RATE = { burst: 100, perSecond: 20, maxEntries: 4096 };
/** After this long the listener is tried again when it fails (out of descriptors, the port taken for a moment). */
const RETRY_MS = 200;

const STATUS: Record<EnrolmentErrorCode, string> = {
  "unknown-invite": "404 Not Found",
  "invite-used": "410 Gone",
  "invite-expired": "410 Gone",
  "unknown-identity": "403 Forbidden",
  "revoked": "403 Forbidden",
  "other-key": "403 Forbidden",
  "bad-request": "400 Bad Request",
  "not-found": "404 Not Found",
  "not-signing": "503 Service Unavailable",
  "internal": "500 Internal Server Error",
};

/** How to serve. */
export interface EnrolmentServerOptions {
  readonly enrolment: Enrolment;
  readonly certificate: RelayCertificate;
  readonly listen: HostPort;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What has been counted since the start. */
export interface EnrolmentCounters {
  /** Connections accepted. */
  connections: number;
  /** Certificates given. */
  issued: number;
  /** Refused, with an answer. */
  refused: number;
  /** Closed without an answer: too many at once, too slow, not TLS, not HTTP. */
  dropped: number;
}

/** A running enrolment server. */
export class EnrolmentServer {
  readonly counters: EnrolmentCounters = { connections: 0, issued: 0, refused: 0, dropped: 0 };
  #options: EnrolmentServerOptions;
  #certificate: RelayCertificate;
  #listener: Deno.TlsListener;
  #address: Address;
  #connections = new Set<Deno.TlsConn>();
  #rate = new RateLimit(RATE);
  #closed = false;
  #accepting: Promise<void>;

  /**
   * Starts listening.
   *
   * @throws {Deno.errors.AddrInUse} where the port is taken, and whatever else the system says
   */
  constructor(options: EnrolmentServerOptions) {
    this.#options = options;
    this.#certificate = options.certificate;
    this.#listener = this.#listen(options.listen);
    const { hostname, port } = this.#listener.addr;
    this.#address = addressOf(hostname, port);
    this.#accepting = this.#accept();
  }

  /** Where it listens. */
  get address(): Address {
    return this.#address;
  }

  /**
   * Goes on with another certificate. The listener is opened again on the same port; who comes in that moment is refused
   * once, and tries again.
   */
  async setCertificate(certificate: RelayCertificate): Promise<void> {
    if (this.#closed || certificate.certPem === this.#certificate.certPem) return;
    this.#certificate = certificate;
    this.#listener.close();
    await this.#accepting;
    this.#accepting = this.#reopen();
  }

  /** Stops: no new connections, those in progress are closed. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#listener.close();
    for (const connection of this.#connections) close(connection);
    await this.#accepting;
  }

  #listen({ host, port }: HostPort): Deno.TlsListener {
    return Deno.listenTls({
      hostname: host,
      port,
      cert: this.#certificate.certPem,
      key: this.#certificate.keyPem,
      alpnProtocols: ["http/1.1"],
    });
  }

  async #reopen(): Promise<void> {
    while (!this.#closed) {
      try {
        this.#listener = this.#listen(this.#address);
        return await this.#accept();
      } catch (error) {
        this.#options.log.warn("cannot listen for enrolment", { why: messageOf(error) });
        await delay(RETRY_MS);
      }
    }
  }

  async #accept(): Promise<void> {
    while (true) {
      try {
        const connection = await this.#listener.accept();
        this.counters.connections++;
        this.#serve(connection);
      } catch (error) {
        // This is how the runtime says that the listener was closed.
        if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted) {
          return;
        }
        this.#options.log.warn("cannot accept an enrolment connection", { why: messageOf(error) });
        await delay(RETRY_MS);
      }
    }
  }

  async #serve(connection: Deno.TlsConn): Promise<void> {
    const { hostname } = connection.remoteAddr;
    // Before the handshake, which is what costs. A client that is closed here tries again later.
    if (
      this.#connections.size >= MAX_CONNECTIONS ||
      !this.#rate.take(hostname, this.#options.clock.now())
    ) {
      this.counters.dropped++;
      return close(connection);
    }
    this.#connections.add(connection);
    const deadline = setTimeout(() => close(connection), CONNECTION_TIMEOUT_MS);
    try {
      const answer = await this.#answer(connection);
      await writeAll(connection, answer);
      await connection.closeWrite();
    } catch {
      // A stranger's broken TLS is no news; counted, so that a flood of it is seen.
      this.counters.dropped++;
    } finally {
      clearTimeout(deadline);
      this.#connections.delete(connection);
      close(connection);
    }
  }

  async #answer(connection: Deno.TlsConn): Promise<Bytes> {
    const { remoteAddr } = connection;
    try {
      const answer = await this.#dispatch(await readMessage(connection));
      this.counters.issued++;
      return encodeHttpMessage("HTTP/1.1 200 OK", answer);
    } catch (error) {
      const refusal = error instanceof EnrolmentRefusal ? error : this.#internal(error);
      this.counters.refused++;
      const { code, message } = refusal;
      this.#options.log.info("enrolment refused", {
        why: code,
        address: addressOf(remoteAddr.hostname, remoteAddr.port).key,
      });
      return encodeHttpMessage(`HTTP/1.1 ${STATUS[code]}`, { error: code, message });
    }
  }

  #dispatch(message: HttpMessage): Promise<unknown> {
    const [method, path] = message.startLine.split(" ");
    const known = path === REDEEM_PATH || path === RENEW_PATH;
    if (method !== "POST" || !known) throw new EnrolmentRefusal("not-found", "nothing is here");
    const text = decodeUtf8Strict(message.body);
    let body: unknown;
    try {
      body = JSON.parse(text ?? "");
    } catch {
      throw new EnrolmentRefusal("bad-request", "the body is not JSON");
    }
    const { enrolment } = this.#options;
    return path === REDEEM_PATH ? enrolment.redeem(body) : enrolment.renew(body);
  }

  #internal(error: unknown): EnrolmentRefusal {
    if (error instanceof Dropped) throw error;
    this.#options.log.error("enrolment failed", { why: messageOf(error) });
    return new EnrolmentRefusal("internal", "the relay has a problem: its log says which");
  }
}

/** The client went away, or never was one. */
class Dropped extends Error {}

async function readMessage(connection: Deno.TlsConn): Promise<HttpMessage> {
  const reader = new HttpMessageReader({
    maxBodyBytes: MAX_ENROLMENT_REQUEST_BYTES,
    bodyOptional: true,
  });
  const buffer = new Uint8Array(4096);
  while (true) {
    const length = await connection.read(buffer).catch((cause) => {
      throw new Dropped("broken", { cause });
    });
    if (length === null) throw new Dropped("ended early");
    const message = reader.push(buffer.subarray(0, length));
    if (message === undefined) continue;
    if (typeof message !== "string") return message;
    throw new EnrolmentRefusal("bad-request", `the request is ${message}`);
  }
}

function delay(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

async function writeAll(connection: Deno.TlsConn, data: Uint8Array): Promise<void> {
  for (let offset = 0; offset < data.length;) {
    offset += await connection.write(data.subarray(offset));
  }
}

function close(connection: Deno.TlsConn): void {
  try {
    connection.close();
  } catch {
    // It is closed already.
  }
}
