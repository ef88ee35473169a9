/**
 * A TLS connection to the relay, by whichever of its addresses answers first (Happy Eyeballs, RFC 8305), checked to be
 * this network's relay before a byte of ours is sent.
 * @module
 */
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { connect, type TLSSocket } from "node:tls";
import { formatHostPort, type HostPort, messageOf } from "../core/mod.ts";
import { EnrolmentError } from "./enrolment_error.ts";
import { isSignedBy, parsePeerCertificate } from "./peer_certificate.ts";
import { decodePem } from "./pem.ts";
import { RELAY_NAME, serverNameOf } from "./server_name.ts";

/** RFC 8305 §8 recommends 250 ms between attempts. */
const ATTEMPT_DELAY_MS = 250;
/** More addresses than this are not tried: 16 × 250 ms is what a person waits for. */
const MAX_ATTEMPTS = 16;

/** Which relay, and how long to try. */
export interface DialOptions {
  readonly caPem: string;
  readonly networkId: string;
  /** Milliseconds for all attempts together. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Connects to the relay.
 *
 * @throws {EnrolmentError} `unreachable` or `wrong-relay`, with what happened at each address
 */
export async function dialRelay(
  relays: readonly HostPort[],
  options: DialOptions,
): Promise<TLSSocket> {
  const failures: Failure[] = [];
  const addresses = await resolve(relays, failures);
  return await new Promise<TLSSocket>((resolve, reject) => {
    const open = new Set<TLSSocket>();
    let next = 0;
    let stagger: ReturnType<typeof setTimeout> | undefined;
    const finish = (winner?: TLSSocket) => {
      clearTimeout(stagger);
      clearTimeout(timeout);
      options.signal?.removeEventListener("abort", abort);
      for (const socket of open) if (socket !== winner) socket.destroy();
      if (winner) resolve(winner);
      else if (options.signal?.aborted) reject(options.signal.reason);
      else reject(dialError(relays, failures));
    };
    const abort = () => finish();
    const timeout = setTimeout(() => {
      failures.push({ address: "", why: `no answer within ${options.timeoutMs / 1000} s` });
      finish();
    }, options.timeoutMs);
    const attempt = () => {
      clearTimeout(stagger);
      const address = addresses[next++];
      if (address === undefined) {
        if (open.size === 0) finish();
        return;
      }
      const socket = connectTo(address, options);
      open.add(socket);
      socket.once("secureConnect", () => finish(socket));
      socket.once("error", (error) => {
        if (!open.delete(socket)) return;
        socket.destroy();
        failures.push(failureOf(error, formatHostPort(address)));
        attempt();
      });
      stagger = setTimeout(attempt, ATTEMPT_DELAY_MS);
    };
    if (options.signal?.aborted) return finish();
    options.signal?.addEventListener("abort", abort);
    attempt();
  });
}

/** Thrown where a certificate is not the relay's. */
class WrongCertificate extends Error {}

function connectTo(address: HostPort, options: DialOptions): TLSSocket {
  const servername = serverNameOf({
    kind: "relay",
    name: RELAY_NAME,
    networkId: options.networkId,
  });
  return connect({
    host: address.host,
    port: address.port,
    servername,
    ca: [options.caPem],
    ALPNProtocols: ["http/1.1"],
    // The runtime may trust other CAs besides (a company's, say): only the network's own is good here.
    checkServerIdentity: (_host, certificate) => {
      const der = certificate.raw;
      const ca = decodePem("CERTIFICATE", options.caPem);
      const peer = parsePeerCertificate(der);
      return ca && peer?.kind === "relay" && peer.networkId === options.networkId &&
          isSignedBy(der, ca)
        ? undefined
        : new WrongCertificate("it has another certificate");
    },
  });
}

interface Failure {
  readonly address: string;
  readonly why: string;
  readonly wrong?: boolean;
}

const WHY: Record<string, string> = {
  ECONNREFUSED: "it refuses the connection",
  ECONNRESET: "it resets the connection",
  ETIMEDOUT: "it does not answer",
  EHOSTUNREACH: "there is no route to it",
  ENETUNREACH: "there is no route to it",
  ENOTFOUND: "the name is not known",
  EAI_AGAIN: "the name cannot be looked up now",
  CERT_HAS_EXPIRED: "its certificate has expired: check the clocks of both machines",
  CERT_NOT_YET_VALID: "its certificate is not valid yet: check the clocks of both machines",
};

function failureOf(error: Error, address: string): Failure {
  const code = "code" in error ? String(error.code) : "";
  const wrong = error instanceof WrongCertificate || /CERT|VERIFY|ALTNAME/.test(code) ||
    /certificate/i.test(error.message);
  const why = WHY[code] ?? (wrong ? "it is not the relay of this network" : messageOf(error));
  return { address, why, wrong };
}

function dialError(relays: readonly HostPort[], failures: Failure[]): EnrolmentError {
  const where = relays.map(formatHostPort).join(", ");
  const whys = [
    ...new Set(failures.map(({ address, why }) => address ? `${address}: ${why}` : why)),
  ];
  const wrong = failures.length > 0 && failures.every((failure) => failure.wrong);
  return new EnrolmentError(
    wrong ? "wrong-relay" : "unreachable",
    `Cannot ${wrong ? "trust" : "reach"} relay at ${where} (${whys.join("; ")})`,
    {
      next: wrong
        ? "See that nothing stands between, and that the relay's address is right"
        : "See that the relay runs and that TCP to it is let through",
    },
  );
}

/** All addresses, families by turns, each relay's own order kept. */
async function resolve(relays: readonly HostPort[], failures: Failure[]): Promise<HostPort[]> {
  const found = await Promise.all(relays.map(async ({ host, port }) => {
    if (isIP(host) !== 0) return [{ host, port }];
    try {
      const addresses = await lookup(host, { all: true });
      return addresses.map(({ address }) => ({ host: address, port }));
    } catch (error) {
      failures.push(failureOf(error as Error, host));
      return [];
    }
  }));
  const [six, four]: [HostPort[], HostPort[]] = [[], []];
  for (const address of found.flat()) (isIP(address.host) === 6 ? six : four).push(address);
  const all: HostPort[] = [];
  for (let i = 0; i < Math.max(six.length, four.length); i++) {
    all.push(...six.slice(i, i + 1), ...four.slice(i, i + 1));
  }
  return all.slice(0, MAX_ATTEMPTS);
}
