/**
 * The asking side of the status socket (see `status_socket.ts`).
 * @module
 */
import { UserError } from "../core/errors.ts";
import type { Ask } from "./asks.ts";
import { LinePipe } from "./line_pipe.ts";
import { dialStatus, findStatusEndpoint } from "./status_endpoint.ts";

/** Bytes of an answer line: the status of a relay with ten thousand clients has about two million. */
const MAX_ANSWER_BYTES = 32 * 1024 * 1024;

/** No role runs at a state folder. */
export class NotRunning extends Error {
  override readonly name = "NotRunning";
  readonly state: string;
  constructor(state: string) {
    super(`Cannot ask as no role runs with the state folder "${state}"`);
    this.state = state;
  }
}

async function open(state: string, ask: Ask): Promise<LinePipe> {
  const endpoint = findStatusEndpoint(state);
  if (endpoint === undefined) throw new NotRunning(state);
  let conn: Deno.Conn;
  try {
    conn = await dialStatus(endpoint);
  } catch (error) {
    if (error instanceof Deno.errors.PermissionDenied) {
      throw new UserError(`Cannot ask the role in "${state}" as it belongs to another user`, {
        next: "run this command as the user who started the role",
        cause: error,
      });
    }
    throw new NotRunning(state);
  }
  const pipe = new LinePipe(conn);
  try {
    if (endpoint.kind === "tcp") await pipe.writeJson({ secret: endpoint.secret });
    await pipe.writeJson(ask);
  } catch {
    pipe.close();
    throw new NotRunning(state);
  }
  return pipe;
}

/** One answer line's content; `undefined` at the end. */
async function next(pipe: LinePipe): Promise<{ readonly answer: unknown } | undefined> {
  const line = await pipe.readJson(MAX_ANSWER_BYTES) as
    | { answer?: unknown; end?: boolean; error?: { message: string; next: string | null } }
    | undefined;
  if (line === undefined) {
    throw new UserError("Cannot read the answer to its end as the role stopped meanwhile");
  }
  if (line.error) {
    const { message, next } = line.error;
    throw new UserError(String(message), next ? { next: String(next) } : {});
  }
  return line.end ? undefined : { answer: line.answer };
}

/**
 * Asks a running role; the answers come as they are made. Leaving the loop hangs up.
 *
 * @throws {NotRunning} where no role runs there
 * @throws {UserError} as the role refused
 */
export async function* askStatus(
  state: string,
  ask: Ask,
  options: { signal?: AbortSignal } = {},
): AsyncGenerator<unknown, void> {
  const pipe = await open(state, ask);
  const hangUp = () => pipe.close();
  options.signal?.addEventListener("abort", hangUp, { once: true });
  try {
    for (let line = await next(pipe); line !== undefined; line = await next(pipe)) {
      yield line.answer;
    }
  } catch (error) {
    if (!options.signal?.aborted) throw error;
  } finally {
    options.signal?.removeEventListener("abort", hangUp);
    pipe.close();
  }
}

/** Asks and takes the connection over: what follows are plain bytes, both ways. The caller closes the pipe. */
export async function askForPipe(state: string, ask: Ask): Promise<LinePipe> {
  const pipe = await open(state, ask);
  try {
    if (await next(pipe) !== undefined) return pipe;
    throw new UserError("Cannot connect as the role answered with an end at once");
  } catch (error) {
    pipe.close();
    throw error;
  }
}
