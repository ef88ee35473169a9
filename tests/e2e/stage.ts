/**
 * All roles in the test's own process, on real sockets: for tests that look inside, or that stand in for one role and lie.
 * A role that fails where it should go on fails the test, as nothing here catches it.
 * @module
 */
import { createLogger, type HostPort, type LogFields, type LogLevel } from "../../src/core/mod.ts";
import { parseName } from "../../src/identity/mod.ts";
import { createInviteToken } from "../../src/relay/invite_token.ts";
import { openRelayState } from "../../src/relay/state.ts";
import { runAgent } from "../../src/roles/agent.ts";
import { runConnector } from "../../src/roles/connector.ts";
import type {
  CommonOptions,
  ConnectorOptions,
  RelayOptions,
  ServiceAddress,
} from "../../src/roles/options.ts";
import { runRelay } from "../../src/roles/relay.ts";
import type { Status } from "../../src/roles/status.ts";
import { askStatus } from "../../src/roles/status_client.ts";
import { eventually, freePort } from "./scene.ts";

/** One line that a role has logged. */
export interface LogLine {
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: LogFields;
}

/** A role that runs in this process. */
export class StageRole<S extends Status = Status> implements AsyncDisposable {
  readonly title: string;
  readonly state: string;
  readonly logged: LogLine[] = [];
  readonly said: string[] = [];
  readonly finished: Promise<void>;
  readonly #stop = new AbortController();
  /** What it failed with; `undefined` while all is well. */
  failure: unknown;
  ended = false;

  constructor(title: string, state: string, run: (common: CommonOptions) => Promise<void>) {
    this.title = title;
    this.state = state;
    this.finished = run({
      state,
      log: createLogger((level, message, fields) => {
        this.logged.push({ level, message, fields });
      }, { level: "debug" }),
      clock: { now: () => performance.now(), unix: () => Date.now() },
      signal: this.#stop.signal,
      say: (line) => this.said.push(line),
      // What is tested here is the relay's way; on one machine everything would go direct at once.
      noDirect: true,
    }).then(() => {
      this.ended = true;
    }, (error) => {
      this.ended = true;
      this.failure = error;
    });
  }

  /** Everything it logged, as text. */
  get text(): string {
    return this.logged.map(({ level, message, fields }) =>
      `${level} ${message} ${JSON.stringify(fields)}`
    ).join("\n");
  }

  /** Waits until its log matches. */
  async logs(pattern: RegExp, options: { withinMs?: number } = {}): Promise<void> {
    await eventually(`${pattern} in the log of ${this.title}`, () => {
      if (pattern.test(this.text)) return true;
      if (this.failure) throw this.failure;
    }, { withinMs: 20_000, everyMs: 10, ...options }).catch((error) => {
      throw new Error(`${error.message}; it logged:\n${this.text}`, { cause: error.cause });
    });
  }

  /** Waits until it says that it can serve. */
  async ready(): Promise<this> {
    await eventually(`${this.title} ready`, () => {
      if (this.failure) throw this.failure;
      if (this.said.some((line) => / ready/.test(line))) return true;
    }, { withinMs: 20_000, everyMs: 5 }).catch((error) => {
      throw new Error(`${error.message}; it logged:\n${this.text}`, { cause: error.cause });
    });
    return this;
  }

  /** Its status, asked as a person would. */
  async status(): Promise<S> {
    for await (const answer of askStatus(this.state, { ask: "status" })) return answer as S;
    throw new Error(`Cannot read the status of ${this.title}`);
  }

  /** Ends it in good order; throws what it has failed with. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.finished;
    if (this.failure) throw this.failure;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.finished;
  }
}

/** A network on this machine: a folder, the roles that run in it, and the way to end them all. */
export class Stage implements AsyncDisposable {
  readonly folder: string = Deno.makeTempDirSync({ prefix: "postern-stage-" });
  readonly port: number;
  readonly #things: AsyncDisposable[] = [];

  constructor(options: { port?: number } = {}) {
    this.port = options.port ?? freePort();
  }

  /** All that the roles have logged, for a failure's message. */
  logs(): string {
    return this.#things.filter((thing) => thing instanceof StageRole)
      .map((role) => `---- ${role.title} (${role.ended ? "ended" : "running"})\n${role.text}`)
      .join("\n");
  }

  /** A path in the stage's folder. */
  path(name: string): string {
    return `${this.folder}/${name}`;
  }

  /** Ends with the stage, last first. */
  keep<T extends AsyncDisposable>(thing: T): T {
    this.#things.push(thing);
    return thing;
  }

  /** Ends with the stage. */
  atEnd(end: () => void | Promise<void>): void {
    this.keep({ [Symbol.asyncDispose]: async () => await end() });
  }

  /** The relay on the stage's port, not waited for. */
  relay(options: Partial<RelayOptions> = {}): StageRole {
    const listen = { host: "127.0.0.1", port: this.port };
    return this.keep(
      new StageRole(
        "relay",
        this.path("relay"),
        (common) => runRelay({ ...common, listen, public: [], ...options }),
      ),
    );
  }

  /** A token, made beside the relay. `relays`: where it is said to be. */
  async invite(
    kind: "connector" | "agent",
    name: string,
    options: { services?: readonly string[]; ttl?: number; relays?: readonly HostPort[] } = {},
  ): Promise<string> {
    const now = Date.now();
    using state = await openRelayState(this.path("relay"), { now });
    const services = (options.services ?? ["web"]).map((service) => parseName(service));
    const request = {
      kind,
      name: parseName(name),
      services,
      ttl: options.ttl ?? 3_600_000,
      now,
    };
    return createInviteToken(request, {
      ...state,
      ...(options.relays ? { relays: options.relays } : {}),
    }).token;
  }

  /** A connector, not waited for. */
  connector(
    options: {
      invite?: string;
      services?: Readonly<Record<string, number>>;
      state?: string;
      more?: Partial<ConnectorOptions>;
    } = {},
  ): StageRole {
    const services = Object.entries(options.services ?? {}).map(([name, port]) => tcp(name, port));
    const { invite, more } = options;
    return this.keep(
      new StageRole(
        "connector",
        options.state ?? this.path("connector"),
        (common) =>
          runConnector({
            ...common,
            services,
            ...more,
            ...(invite === undefined ? {} : { invite }),
          }),
      ),
    );
  }

  /** An agent, not waited for. */
  agent(
    options: {
      invite?: string;
      forwards?: Readonly<Record<string, number>>;
      state?: string;
      more?: Partial<CommonOptions>;
    } = {},
  ): StageRole {
    const forwards = Object.entries(options.forwards ?? {}).map(([name, port]) => tcp(name, port));
    const { invite, more } = options;
    return this.keep(
      new StageRole(
        "agent",
        options.state ?? this.path("agent"),
        (common) =>
          runAgent({ ...common, ...more, forwards, ...(invite === undefined ? {} : { invite }) }),
      ),
    );
  }

  /** Connector "home" and agent "alice", both ready: the local port leads to an echo of lines, the service "web". */
  async join(): Promise<{ home: StageRole; alice: StageRole; local: number }> {
    const web = startLineEcho(this);
    const local = freePort();
    const home = await this.connector({
      invite: await this.invite("connector", "home"),
      services: { web },
    }).ready();
    const alice = await this.agent({
      invite: await this.invite("agent", "alice"),
      forwards: { web: local },
    }).ready();
    return { home, alice, local };
  }

  /** Runs beside the relay what `postern grant` and its like do. */
  async change(
    work: (store: Awaited<ReturnType<typeof openRelayState>>["store"]) => void,
  ): Promise<void> {
    using state = await openRelayState(this.path("relay"), { now: Date.now() });
    work(state.store);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const thing of this.#things.toReversed()) await thing[Symbol.asyncDispose]();
    await Deno.remove(this.folder, { recursive: true });
  }
}

function tcp(service: string, port: number): ServiceAddress {
  return { service, protocol: "tcp", address: { host: "127.0.0.1", port } };
}

/** A private service: sends back what comes, with `answer` before it. Its port. */
export function startLineEcho(
  stage: Stage,
  options: { answer?: string; onConnect?: () => void } = {},
): number {
  const { answer = "", onConnect } = options;
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const conns = new Set<Deno.Conn>();
  const serve = async (conn: Deno.Conn) => {
    conns.add(conn);
    onConnect?.();
    const buffer = new Uint8Array(65_536);
    try {
      for (let n = await conn.read(buffer); n !== null; n = await conn.read(buffer)) {
        await writeAll(conn, new TextEncoder().encode(answer));
        await writeAll(conn, buffer.subarray(0, n));
      }
      conn.close();
    } catch {
      // Reset, or the test is over.
    }
    conns.delete(conn);
  };
  const accepting = (async () => {
    for await (const conn of listener) void serve(conn);
  })().catch(() => {});
  stage.atEnd(async () => {
    listener.close();
    for (const conn of conns) conn.close();
    await accepting;
  });
  return (listener.addr as Deno.NetAddr).port;
}

/** Writes all of it. */
export async function writeAll(conn: Deno.Conn, data: Uint8Array): Promise<void> {
  for (let at = 0; at < data.length;) at += await conn.write(data.subarray(at));
}

/**
 * Says something to a local port and hears what comes back, until `wanted` bytes are there, or the end (`end`: ours comes
 * first). A reset is an end too: what came until then counts.
 */
export async function exchange(
  port: number,
  text: string,
  options: { wanted?: number; withinMs?: number; end?: boolean } = {},
): Promise<string> {
  const { end = false, wanted = end ? Infinity : text.length, withinMs = 10_000 } = options;
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  const timer = setTimeout(() => conn.close(), withinMs);
  let heard = "";
  try {
    // Heard while it is said: nobody has to hold all of it.
    const said = writeAll(conn, new TextEncoder().encode(text)).then(() => {
      if (end) return conn.closeWrite();
    });
    said.catch(() => {});
    const buffer = new Uint8Array(65_536);
    while (heard.length < wanted) {
      const n = await conn.read(buffer);
      if (n === null) break;
      heard += new TextDecoder().decode(buffer.subarray(0, n));
    }
  } catch {
    // Reset, or too late.
  }
  clearTimeout(timer);
  try {
    conn.close();
  } catch {
    // Too late: closed already.
  }
  return heard;
}
