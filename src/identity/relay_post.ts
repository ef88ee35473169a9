/**
 * One question to the relay over HTTPS, and its answer.
 * @module
 */
import type { TLSSocket } from "node:tls";
import { decodeUtf8, formatHostPort, type HostPort } from "../core/mod.ts";
import { MAX_ENROLMENT_ANSWER_BYTES } from "./enrolment_messages.ts";
import { EnrolmentError } from "./enrolment_error.ts";
import { encodeHttpMessage, HttpMessageReader } from "./http_message.ts";
import { dialRelay } from "./relay_dialer.ts";

/** Fifteen seconds to connect, and as many for the answer: a relay that takes longer is not there. */
const TIMEOUT_MS = 15_000;

/** Where to ask, and whom to believe. */
export interface PostOptions {
  readonly relays: readonly HostPort[];
  readonly caPem: string;
  readonly networkId: string;
  readonly signal?: AbortSignal | undefined;
}

/** What came back: the status code and the JSON body. */
export interface RelayAnswer {
  readonly status: number;
  readonly json: unknown;
}

/**
 * Posts JSON to the relay.
 *
 * @throws {EnrolmentError} `unreachable`, `wrong-relay`, or `wrong-answer` where what comes back is no JSON over HTTP
 */
export async function postToRelay(
  path: string,
  json: unknown,
  options: PostOptions,
): Promise<RelayAnswer> {
  const socket = await dialRelay(options.relays, { ...options, timeoutMs: TIMEOUT_MS });
  const host = formatHostPort(options.relays[0]!);
  try {
    return await exchange(
      socket,
      encodeHttpMessage(`POST ${path} HTTP/1.1`, json, { host }),
      options,
    );
  } finally {
    socket.destroy();
  }
}

function exchange(
  socket: TLSSocket,
  request: Uint8Array,
  options: PostOptions,
): Promise<RelayAnswer> {
  return new Promise((resolve, reject) => {
    const reader = new HttpMessageReader({ maxBodyBytes: MAX_ENROLMENT_ANSWER_BYTES });
    const fail = (code: "unreachable" | "wrong-answer", why: string, cause?: unknown) =>
      reject(
        new EnrolmentError(code, `Cannot understand the relay's answer as ${why}`, { cause }),
      );
    const timeout = setTimeout(() => {
      fail("unreachable", `none came within ${TIMEOUT_MS / 1000} s`);
    }, TIMEOUT_MS);
    const abort = () => reject(options.signal?.reason);
    options.signal?.addEventListener("abort", abort);
    socket.on("close", () => {
      clearTimeout(timeout);
      options.signal?.removeEventListener("abort", abort);
      fail("unreachable", "the connection ended before it");
    });
    socket.on("error", (error) => fail("unreachable", "the connection broke", error));
    socket.on("data", (chunk: Uint8Array) => {
      const message = reader.push(chunk);
      if (message === undefined) return;
      if (typeof message === "string") return fail("wrong-answer", `it is ${message}`);
      const status = /^HTTP\/1\.1 (\d{3})( |$)/.exec(message.startLine)?.[1];
      if (status === undefined) return fail("wrong-answer", "it is not HTTP");
      try {
        resolve({ status: Number(status), json: JSON.parse(decodeUtf8(message.body)) });
      } catch {
        fail("wrong-answer", "it is not JSON");
      }
    });
    socket.write(request);
  });
}
