/**
 * The real program in a lab: relay, connector with a web service, agent; each in its own namespace.
 * @module
 */
import type { ClientStatus, Status } from "../../src/roles/status.ts";
import { type Finished, run, TestProcess } from "../e2e/process.ts";
import { program } from "../e2e/scene.ts";
import type { Lab } from "./lab.ts";
import { QUIET_ENV } from "./namespaces.ts";
import type { HostName } from "./options.ts";
import { RELAY } from "./plan.ts";

/** Ports in the lab; nothing else runs there. */
export const LAB_PORTS = { relay: 4433, service: 8080, forward: 9000 } as const;

/** How to start the program. */
export interface LabProgramOptions {
  /** More words for one role's command line. */
  readonly flags?: Partial<Record<HostName, readonly string[]>>;
  /** The file to run instead of `main.ts`, for a role. */
  readonly entry?: Partial<Record<HostName, URL>>;
  /** More environment for every role. */
  readonly env?: Readonly<Record<string, string>>;
  /** Wait until connector and agent say that they are ready. @default true */
  readonly wait?: boolean;
  /** The program behind the connector, and its words; it says `ready`. @default the web service */
  readonly service?: readonly [program: URL, ...words: string[]];
}

/** Where an agent's tunnel runs; `none`: there is no tunnel. */
export type TunnelPath = "direct" | "relayed" | "none";

/** Three roles and a service, running. */
export class PosternInLab implements AsyncDisposable {
  readonly lab: Lab;
  /** Holds the state folders; removed at the end. */
  readonly folder: string;
  readonly #processes = new Map<HostName | "service", TestProcess>();
  readonly #flags: Partial<Record<HostName, readonly string[]>>;
  readonly #service: readonly [program: URL, ...words: string[]];
  readonly #entry: Partial<Record<HostName, URL>>;
  readonly #env: Readonly<Record<string, string>>;
  readonly #invites: Partial<Record<HostName, string>> = {};

  private constructor(lab: Lab, options: LabProgramOptions) {
    this.lab = lab;
    this.#flags = options.flags ?? {};
    this.#entry = options.entry ?? {};
    this.#env = options.env ?? {};
    const web = new URL("web_service.ts", import.meta.url);
    this.#service = options.service ?? [web, String(LAB_PORTS.service)];
    this.folder = Deno.makeTempDirSync({ prefix: "postern-lab-" });
  }

  /** Starts all of it: a first start, with invites. @throws {Error} with the logs, where a role does not get ready */
  static async start(lab: Lab, options: LabProgramOptions = {}): Promise<PosternInLab> {
    const postern = new PosternInLab(lab, options);
    try {
      await Promise.all([postern.startService(), postern.startRole("relay").ready()]);
      await postern.#invite("connector", "home", "--service");
      await postern.#invite("agent", "alice", "--allow");
      const clients = [postern.startRole("connector"), postern.startRole("agent")];
      if (options.wait ?? true) await Promise.all(clients.map((client) => client.ready()));
      return postern;
    } catch (error) {
      console.error(postern.logs());
      await postern[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Starts the service behind the connector. */
  async startService(): Promise<void> {
    const [{ pathname }, ...words] = this.#service;
    const args = ["run", "-A", "--no-check", "--no-config", pathname, ...words];
    const service = this.#start("service", "connector", Deno.execPath(), args);
    await service.ready();
  }

  /** Starts a role, with its invite the first time; again after {@linkcode stopRole}. Does not wait. */
  startRole(role: HostName): TestProcess {
    const { command, args } = program(this.#entry[role]);
    const invite = this.#invites[role];
    const words = [role, "--state", this.state(role), ...this.#words(role)];
    delete this.#invites[role];
    return this.#start(role, role, command, [...args, ...words, ...this.#flags[role] ?? []], {
      ...this.#env,
      ...(invite === undefined ? {} : { POSTERN_INVITE: invite }),
    });
  }

  /** Ends a role in good order, or at once with `SIGKILL`. */
  async stopRole(role: HostName, signal: Deno.Signal = "SIGTERM"): Promise<void> {
    await this.process(role).stop(signal);
  }

  /** The process that runs, or last ran, a role or the service. */
  process(role: HostName | "service"): TestProcess {
    const process = this.#processes.get(role);
    if (!process) throw new Error(`Cannot find the ${role} as it was never started`);
    return process;
  }

  /** The state folder of a role. */
  state(role: HostName): string {
    return `${this.folder}/${role}`;
  }

  /** Runs `postern …` beside a role, to its end. */
  postern(role: HostName, args: readonly string[]): Promise<Finished> {
    const { command, args: before } = program();
    const words = [...before, ...args, "--state", this.state(role)];
    return run("ip", ["netns", "exec", this.lab.namespace(role), command, ...words], {
      env: QUIET_ENV,
    });
  }

  /** `status --json`. @throws {Error} where the role does not answer */
  async status(role: HostName): Promise<Status> {
    const { code, stdout, stderr } = await this.postern(role, ["status", "--json"]);
    if (code !== 0) throw new Error(`Cannot read the status of the ${role}: ${stderr.trim()}`);
    return JSON.parse(stdout);
  }

  /** Which path the agent's tunnel uses now, and the whole of its status. */
  async path(): Promise<{ path: TunnelPath; status: ClientStatus }> {
    const status = await this.status("agent") as ClientStatus;
    return { path: status.tunnels[0]?.path ?? "none", status };
  }

  /** Waits until the agent's tunnel is on that path. @throws {Error} where it is not within 10 s */
  async untilPath(path: TunnelPath): Promise<void> {
    for (const until = Date.now() + 10_000; (await this.path()).path !== path;) {
      if (Date.now() > until) throw new Error(`Cannot see the tunnel ${path}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** curl at the agent, through the tunnel, to the service. */
  curl(path = "/", { args = [], withinS = 20 }: { args?: string[]; withinS?: number } = {}) {
    const url = `http://127.0.0.1:${LAB_PORTS.forward}${path}`;
    const words = ["-sS", "--fail", "--max-time", String(withinS), ...args, url];
    return this.lab.exec("agent", "curl", words, { timeoutMs: (withinS + 5) * 1000 });
  }

  /** All that every process has printed, for a failure's message. */
  logs(): string {
    return [...this.#processes].map(([name, process]) =>
      `---- ${name} (${process.ended ? "ended" : "running"})\n${process.output()}`
    ).join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#processes.values()].map((process) => process.kill()));
    await Deno.remove(this.folder, { recursive: true });
  }

  #words(role: HostName): string[] {
    if (role === "connector") return [`web=127.0.0.1:${LAB_PORTS.service}`];
    if (role === "agent") return [`web=127.0.0.1:${LAB_PORTS.forward}`];
    const hosts = [RELAY.v4[0], ...(this.lab.options.v6 === "off" ? [] : [`[${RELAY.v6[0]}]`])];
    const own = hosts.flatMap((host) => ["--public", `${host}:${LAB_PORTS.relay}`]);
    return ["--listen", `[::]:${LAB_PORTS.relay}`, ...own];
  }

  #start(
    name: HostName | "service",
    node: HostName,
    command: string,
    args: readonly string[],
    env: Record<string, string> = {},
  ): TestProcess {
    const process = new TestProcess({
      title: name,
      command: "ip",
      args: ["netns", "exec", this.lab.namespace(node), command, ...args],
      env: { ...QUIET_ENV, ...env },
    });
    this.#processes.set(name, process);
    return process;
  }

  async #invite(kind: "connector" | "agent", name: string, flag: string): Promise<void> {
    const made = await this.postern("relay", ["invite", kind, name, flag, "web"]);
    if (made.code !== 0) throw new Error(`Cannot invite ${kind} ${name}: ${made.stderr.trim()}`);
    this.#invites[kind] = made.stdout.trim();
  }
}
