/**
 * The status socket of a running role: other processes of the same user ask it things (see `asks.ts`).
 *
 * One request a connection: a line of JSON. The answer is any number of lines `{"answer": …}`, then `{"end": true}`, or
 * `{"error": {"message": …, "next": …}}`. An answer of kind {@linkcode RawAnswer} takes the connection over instead.
 * On TCP (Windows) a line `{"secret": …}` from the pointer file comes first.
 * @module
 */
import { basename, dirname, join } from "node:path";
import { encodeUtf8, equalBytes, toHex } from "../core/bytes.ts";
import { messageOf, UserError } from "../core/errors.ts";
import { type Ask, parseAsk } from "./asks.ts";
import { LinePipe } from "./line_pipe.ts";
import {
  dialStatus,
  findStatusEndpoint,
  fitsUnixPath,
  pointerPathIn,
  removeQuietly,
  socketPathIn,
  type StatusEndpoint,
  writePointer,
} from "./status_endpoint.ts";

/** Askers at once; a person has a few terminals and a monitor. One more is told so and let go. */
export const MAX_STATUS_CLIENTS = 16;
/** Connections that carry flows at once (`postern connect`); one more is told so and let go. */
export const MAX_RAW_CLIENTS = 1024;
/** Bytes of a request; the longest real one has about 150. A longer one gets an error. */
export const MAX_REQUEST_BYTES = 64 * 1024;
/** Milliseconds in which a request must be there, and in which an asker must take an answer line. */
export const STATUS_IDLE_MS = 10_000;

const TEMP_PREFIX = "postern-";

/**
 * An answer that is a connection: runs with the bytes that follow, until it is done. It may outlive the server's own end, so
 * that a role can drain.
 */
export class RawAnswer {
  /** Sent as the one answer line before the bytes. */
  readonly first: unknown;
  readonly run: (pipe: LinePipe, signal: AbortSignal) => Promise<void>;
  /** Called instead of `run` where the asker has gone before. */
  readonly drop: () => void;
  constructor(
    first: unknown,
    run: (pipe: LinePipe, signal: AbortSignal) => Promise<void>,
    drop: () => void = () => {},
  ) {
    this.first = first;
    this.run = run;
    this.drop = drop;
  }
}

/** What a role answers: one value, several as they come, or a connection. Throw a UserError to refuse. */
export type Answer = RawAnswer | AsyncIterable<unknown> | Promise<unknown> | unknown;

/** How to serve a status socket. */
export interface ServeStatusOptions {
  /** The state folder; it exists. */
  readonly state: string;
  /** `signal` is aborted when the asker has gone or the server stops. */
  readonly answer: (ask: Ask, signal: AbortSignal) => Answer;
  /** Stops serving when aborted. */
  readonly signal: AbortSignal;
  /** @default {@linkcode STATUS_IDLE_MS} */
  readonly idleMs?: number;
}

/** A serving status socket. */
export interface StatusServer {
  readonly endpoint: StatusEndpoint;
  /** Resolves when it has stopped and its files are gone. */
  readonly finished: Promise<void>;
}

function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return value !== null && typeof value === "object" && Symbol.asyncIterator in value;
}

/** Fails when `work` takes longer than `ms`. */
async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error("idle for too long")), ms);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

async function isAlive(endpoint: StatusEndpoint): Promise<boolean> {
  try {
    (await dialStatus(endpoint)).close();
    return true;
  } catch {
    return false;
  }
}

interface Bound {
  readonly listener: Deno.Listener;
  readonly endpoint: StatusEndpoint;
  /** Removes the files that belong to it. */
  readonly cleanUp: () => void;
}

async function bind(state: string): Promise<Bound> {
  if (Deno.build.os === "windows") {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const secret = toHex(crypto.getRandomValues(new Uint8Array(32)));
    const port = (listener.addr as Deno.NetAddr).port;
    const endpoint: StatusEndpoint = { kind: "tcp", port, secret };
    writePointer(state, endpoint);
    return { listener, endpoint, cleanUp: () => removeQuietly(pointerPathIn(state)) };
  }
  // A socket file outlives a killed process; only a live one answers.
  const old = findStatusEndpoint(state);
  if (old?.kind === "unix") {
    if (await isAlive(old)) {
      throw new UserError(`Cannot serve status in "${state}" as another process serves it`, {
        next: "stop that one, or give this one a --state of its own",
      });
    }
    removeQuietly(old.path);
    if (basename(dirname(old.path)).startsWith(TEMP_PREFIX)) removeQuietly(dirname(old.path));
  }
  removeQuietly(pointerPathIn(state));
  let path = socketPathIn(state);
  let folder: string | undefined;
  if (!fitsUnixPath(path)) {
    // mkdtemp gives mode 0700, so nobody else can put a socket there.
    folder = Deno.makeTempDirSync({ prefix: TEMP_PREFIX });
    path = join(folder, "s");
  }
  const listener = Deno.listen({ transport: "unix", path });
  Deno.chmodSync(path, 0o600);
  const endpoint: StatusEndpoint = { kind: "unix", path };
  if (folder !== undefined) writePointer(state, endpoint);
  const cleanUp = () => {
    removeQuietly(path);
    if (folder !== undefined) {
      removeQuietly(folder);
      removeQuietly(pointerPathIn(state));
    }
  };
  return { listener, endpoint, cleanUp };
}

/** Checks the secret (TCP only) and reads the request. */
async function readAsk(pipe: LinePipe, endpoint: StatusEndpoint): Promise<Ask> {
  if (endpoint.kind === "tcp") {
    const first = await pipe.readJson(MAX_REQUEST_BYTES) as { secret?: unknown } | undefined;
    const secret = typeof first?.secret === "string" ? first.secret : "";
    if (!equalBytes(encodeUtf8(secret), encodeUtf8(endpoint.secret))) {
      throw new UserError("Cannot answer as the secret is wrong");
    }
  }
  const request = await pipe.readJson(MAX_REQUEST_BYTES);
  const ask = parseAsk(request);
  if (ask === undefined) throw new UserError("Cannot answer as this is no request that I know");
  return ask;
}

async function converse(
  pipe: LinePipe,
  endpoint: StatusEndpoint,
  options: ServeStatusOptions,
  asker: { readonly gone: AbortController; readonly becomesRaw: () => boolean },
): Promise<void> {
  const { gone } = asker;
  const idle = options.idleMs ?? STATUS_IDLE_MS;
  const write = (line: unknown) => within(idle, pipe.writeJson(line));
  try {
    const ask = await within(idle, readAsk(pipe, endpoint));
    const signal = AbortSignal.any([options.signal, gone.signal]);
    const answer = await options.answer(ask, signal);
    if (answer instanceof RawAnswer) {
      let told = false;
      try {
        if (!asker.becomesRaw()) {
          throw new UserError(`Cannot connect as ${MAX_RAW_CLIENTS} connections go on already`);
        }
        await write({ answer: answer.first });
        told = true;
      } finally {
        if (!told) answer.drop();
      }
      return await answer.run(pipe, signal);
    }
    // An asker that hangs up ends the conversation, even while nothing is being written.
    pipe.readJson(MAX_REQUEST_BYTES).catch(() => {}).then(() => gone.abort());
    if (isAsyncIterable(answer)) {
      for await (const one of answer) {
        if (signal.aborted) return;
        await write({ answer: one });
      }
    } else {
      await write({ answer });
    }
    await write({ end: true });
  } catch (error) {
    const next = error instanceof UserError ? error.next : undefined;
    await write({ error: { message: messageOf(error), next: next ?? null } }).catch(() => {});
  }
}

/**
 * Serves a role's status socket until `signal` is aborted.
 *
 * @throws {UserError} where another live process serves this state folder
 */
export async function serveStatus(options: ServeStatusOptions): Promise<StatusServer> {
  const { listener, endpoint, cleanUp } = await bind(options.state);
  const pipes = new Set<LinePipe>();
  const raw = new Set<LinePipe>();
  const stop = () => {
    try {
      listener.close();
    } catch { /* closed already */ }
    for (const pipe of pipes) pipe.close();
  };
  const talk = async (conn: Deno.Conn) => {
    const pipe = new LinePipe(conn);
    if (pipes.size >= MAX_STATUS_CLIENTS) {
      const message = `Cannot answer as ${MAX_STATUS_CLIENTS} others ask already`;
      await within(1000, pipe.writeJson({ error: { message, next: "ask again in a moment" } }))
        .catch(() => {});
      return pipe.close();
    }
    pipes.add(pipe);
    const gone = new AbortController();
    const becomesRaw = () => {
      if (raw.size >= MAX_RAW_CLIENTS) return false;
      pipes.delete(pipe);
      raw.add(pipe);
      return true;
    };
    try {
      await converse(pipe, endpoint, options, { gone, becomesRaw });
    } catch {
      /* one asker's trouble is not the role's */
    } finally {
      gone.abort();
      pipes.delete(pipe);
      raw.delete(pipe);
      pipe.close();
    }
  };
  const accept = async () => {
    try {
      for await (const conn of listener) void talk(conn);
    } catch { /* the listener was closed while accepting */ }
    cleanUp();
  };
  options.signal.addEventListener("abort", stop, { once: true });
  if (options.signal.aborted) stop();
  return { endpoint, finished: accept() };
}
