/**
 * A relay, connectors and agents as real processes on this machine, with a folder for what they keep.
 * @module
 */
import { fromFileUrl } from "./paths.ts";
import { type Finished, run, type RunOptions, TestProcess } from "./process.ts";

/** How long a process has, at the end of a scene, to end by itself. */
const CLEANUP_MS = 3_000;

/** The program under test: the file in `POSTERN_BIN`, else this checkout; or `entry`, which stands for its `main.ts`. */
export function program(entry?: URL): { command: string; args: string[] } {
  const packed = Deno.env.get("POSTERN_BIN");
  if (packed && !entry) return { command: packed, args: [] };
  const main = fromFileUrl(entry ?? new URL("../../main.ts", import.meta.url));
  const config = fromFileUrl(new URL("../../deno.json", import.meta.url));
  return { command: Deno.execPath(), args: ["run", "-A", "--no-check", "--config", config, main] };
}

/** Runs `postern …` to its end. */
export function postern(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const { command, args: before } = program();
  return run(command, [...before, ...args], options);
}

/** A port on 127.0.0.1 that was free a moment ago, for TCP and for UDP. */
export function freePort(): number {
  for (let tries = 0; tries < 50; tries++) {
    using tcp = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = tcp.addr as Deno.NetAddr;
    try {
      Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port }).close();
      return port;
    } catch {
      // Taken for UDP: try another.
    }
  }
  throw new Error("Cannot find a free port on 127.0.0.1");
}

/** A started relay. */
export interface Relay {
  readonly process: TestProcess;
  readonly port: number;
  readonly state: string;
}

/** A started agent. */
export interface Agent {
  readonly process: TestProcess;
  readonly state: string;
  /** Local port of each forwarded service. */
  readonly ports: Readonly<Record<string, number>>;
}

/** Everything that one test starts; ended and removed with it. */
export class Scene implements AsyncDisposable {
  /** Mode 0700; removed at the end. */
  readonly folder: string = Deno.makeTempDirSync({ prefix: "postern-e2e-" });
  readonly processes: TestProcess[] = [];
  readonly #cleanups: (() => void | Promise<void>)[] = [];
  /** Goes before every command line that this scene starts: a way into a network namespace, for one. */
  readonly #wrap: readonly string[];
  readonly #program: { command: string; args: string[] };
  readonly #env: { env?: Readonly<Record<string, string>>; clearEnv?: boolean };

  constructor(
    options: {
      wrap?: readonly string[];
      program?: { command: string; args: string[] };
      /** Nothing is inherited then. */
      onlyEnv?: Readonly<Record<string, string>>;
    } = {},
  ) {
    this.#wrap = options.wrap ?? [];
    this.#program = options.program ?? program();
    this.#env = options.onlyEnv === undefined ? {} : { env: options.onlyEnv, clearEnv: true };
  }

  /** A path in the scene's folder. */
  path(name: string): string {
    return `${this.folder}/${name}`;
  }

  /** Runs when the scene ends, last first, after all processes have ended. */
  atEnd(cleanup: () => void | Promise<void>): void {
    this.#cleanups.push(cleanup);
  }

  /** Starts any command of the scene. */
  start(title: string, command: string, args: readonly string[]): TestProcess {
    const [first, ...rest] = [...this.#wrap, command, ...args];
    const process = new TestProcess({ title, command: first!, args: rest });
    this.processes.push(process);
    return process;
  }

  /** Starts `postern …` and lets it run. */
  startPostern(title: string, args: readonly string[]): TestProcess {
    const [first, ...rest] = [...this.#wrap, this.#program.command, ...this.#program.args, ...args];
    const process = new TestProcess({ title, command: first!, args: rest, ...this.#env });
    this.processes.push(process);
    return process;
  }

  /** Runs `postern …` to its end. */
  postern(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
    const [first, ...rest] = [...this.#wrap, this.#program.command, ...this.#program.args, ...args];
    return run(first!, rest, { ...this.#env, ...options });
  }

  /** Starts a relay and waits until it is ready. */
  async startRelay(
    options: { state?: string; port?: number; args?: readonly string[] } = {},
  ): Promise<Relay> {
    const state = options.state ?? this.path("relay");
    const port = options.port ?? freePort();
    const listen = `127.0.0.1:${port}`;
    const args = ["relay", "--state", state, "--listen", listen, ...options.args ?? []];
    const process = this.startPostern("relay", args);
    await process.ready();
    return { process, port, state };
  }

  /** A file with an invite's token. */
  async invite(
    relay: Pick<Relay, "state">,
    kind: "connector" | "agent",
    name: string,
    services: readonly string[],
  ): Promise<string> {
    const flag = kind === "connector" ? "--service" : "--allow";
    const flags = services.flatMap((service) => [flag, service]);
    const made = await this.postern(["invite", "--state", relay.state, kind, name, ...flags]);
    const token = made.stdout.trim();
    if (made.code !== 0 || token === "" || token.includes("\n")) {
      throw new Error(`Cannot invite ${kind} ${name}: ${made.code} ${made.stdout}${made.stderr}`);
    }
    const file = this.path(`${name}.invite`);
    await Deno.writeTextFile(file, made.stdout, { mode: 0o600 });
    return file;
  }

  /** Starts a connector (services as `web=127.0.0.1:8080`) without waiting for anything. */
  startConnector(
    options: {
      state?: string;
      invite?: string;
      services?: readonly string[];
      args?: readonly string[];
    },
  ): TestProcess {
    const { state = this.path("connector"), invite, services = [], args = [] } = options;
    const from = invite === undefined ? [] : ["--invite-file", invite];
    return this.startPostern(
      "connector",
      ["connector", "--state", state, ...from, ...args, ...services],
    );
  }

  /** Starts an agent that forwards each service from a free local port, without waiting for anything. */
  startAgent(
    options: {
      state?: string;
      invite?: string;
      services: readonly string[];
      ports?: Readonly<Record<string, number>>;
      args?: readonly string[];
    },
  ): Agent {
    const { state = this.path("agent"), invite, args = [] } = options;
    const ports = Object.fromEntries(
      options.services.map((service) => [service, options.ports?.[service] ?? freePort()]),
    );
    const from = invite === undefined ? [] : ["--invite-file", invite];
    const forwards = Object.entries(ports).map(([service, port]) => `${service}=127.0.0.1:${port}`);
    const process = this.startPostern(
      "agent",
      ["agent", "--state", state, ...from, ...args, ...forwards],
    );
    return { process, state, ports };
  }

  /** `status --json` of whichever role keeps its state there. */
  async status(state: string): Promise<Record<string, unknown>> {
    const { code, stdout, stderr } = await this.postern(["status", "--json", "--state", state]);
    if (code !== 0) throw new Error(`Cannot read the status of ${state}: ${stderr}`);
    return JSON.parse(stdout);
  }

  /** All that the processes have printed, for a failure's message. */
  logs(): string {
    return this.processes.map((process) =>
      `---- ${process.title} (${process.ended ? "ended" : "running"})\n${process.output()}`
    ).join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Asked first, as a killed server's workers would live on.
    await Promise.all(this.processes.map((process) => process.stop("SIGTERM", CLEANUP_MS)));
    for (const cleanup of this.#cleanups.toReversed()) await cleanup();
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** A relay, a connector that offers `targets`, and an agent that reaches them all; its local ports. */
export async function openAll(
  scene: Scene,
  targets: Readonly<Record<string, number>>,
): Promise<Readonly<Record<string, number>>> {
  const services = Object.keys(targets);
  const relay = await scene.startRelay();
  const home = await scene.invite(relay, "connector", "home", services);
  const alice = await scene.invite(relay, "agent", "alice", services);
  const connector = scene.startConnector({
    invite: home,
    services: services.map((name) => `${name}=127.0.0.1:${targets[name]}`),
  });
  const agent = scene.startAgent({ invite: alice, services });
  await Promise.all([connector.ready(), agent.process.ready()]);
  return agent.ports;
}

/** Runs a test in a scene of its own; when it fails, says what the processes have printed. */
export async function inScene(
  play: (scene: Scene) => Promise<void>,
  options: ConstructorParameters<typeof Scene>[0] = {},
): Promise<void> {
  await using scene = new Scene(options);
  try {
    await play(scene);
  } catch (error) {
    console.error(scene.logs());
    throw error;
  }
}

/** Calls again and again until it neither throws nor answers `undefined`. */
export async function eventually<T>(
  what: string,
  ask: () => T | undefined | Promise<T | undefined>,
  options: { withinMs?: number; everyMs?: number } = {},
): Promise<T> {
  const { withinMs = 60_000, everyMs = 100 } = options;
  const until = Date.now() + withinMs;
  let last: unknown;
  while (Date.now() < until) {
    try {
      const answer = await ask();
      if (answer !== undefined) return answer;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
  throw new Error(`Cannot see ${what} within ${withinMs / 1000} s`, { cause: last });
}

/** Are all roles there to be run? */
export function isReadyToRun(): boolean {
  if (Deno.env.get("POSTERN_BIN")) return true;
  try {
    return Deno.statSync(new URL("../../src/roles/relay.ts", import.meta.url)).isFile;
  } catch {
    return false;
  }
}
