/**
 * Where the demo plays: a folder, a private web service, and the processes of this program. All of it goes at the end.
 * @module
 */
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { UserError } from "../../core/mod.ts";
import type { Status } from "../status.ts";
import { askStatus, NotRunning } from "../status_client.ts";
import { Child, ChildEnded } from "./child.ts";
import { findSelf, type SelfCommand } from "./self_command.ts";

/** How long a role may take to say that it is ready, in milliseconds: a first start may fetch packages. */
const READY_WITHIN_MS = 120_000;
/** How long a command may take, in milliseconds. */
const COMMAND_WITHIN_MS = 60_000;
/** The relay's port is free for UDP but taken for TCP: another one will do. */
const PORT_TRIES = 5;

/** Which of the demo's state folders. */
export type RoleFolder = "relay" | "connector" | "agent";

/** See the module's head. */
export class Stage implements AsyncDisposable {
  readonly folder: string;
  readonly #self: SelfCommand = findSelf();
  readonly #keep: boolean;
  readonly #relayedOnly: boolean;
  readonly #children = new Set<Child>();
  readonly #expected = new WeakSet<Child>();
  readonly #broken = Promise.withResolvers<never>();
  readonly #onUnload = () => this.#endAtOnce();

  private constructor(folder: string, options: { keep: boolean; relayedOnly: boolean }) {
    this.folder = folder;
    this.#keep = options.keep;
    this.#relayedOnly = options.relayedOnly;
    this.#broken.promise.catch(() => {});
    // The second Ctrl-C ends this process without asking anybody: nothing of it may stay.
    globalThis.addEventListener("unload", this.#onUnload);
  }

  /**
   * Makes the folder.
   *
   * @param options `state`: kept afterwards, must be empty; `relayedOnly`: connector and agent take no direct path
   * @throws {UserError} where the folder cannot be used
   */
  static async open(
    options: { state: string | undefined; relayedOnly: boolean },
  ): Promise<Stage> {
    const { state, relayedOnly } = options;
    if (state === undefined) {
      const folder = await mkdtemp(join(tmpdir(), "postern-demo-"));
      return new Stage(folder, { keep: false, relayedOnly });
    }
    const folder = resolve(state);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    if ((await readdir(folder)).length > 0) {
      throw new UserError(`Cannot keep the demo in "${folder}" as it is not empty`, {
        next: "Name a new folder with --state, or leave it out",
      });
    }
    return new Stage(folder, { keep: true, relayedOnly });
  }

  /** Rejects when a role ends that nobody asked to. */
  get broken(): Promise<never> {
    return this.#broken.promise;
  }

  /** All processes that run. */
  get children(): readonly Child[] {
    return [...this.#children];
  }

  /** A role's state folder. */
  state(role: RoleFolder): string {
    return join(this.folder, role);
  }

  /** Starts a relay on a free port of the loopback. */
  async startRelay(): Promise<{ child: Child; address: string }> {
    for (let tries = 1;; tries++) {
      const args = ["relay", "--state", this.state("relay"), "--listen", "127.0.0.1:0"];
      const child = this.#start("the relay", args, { mayFail: true });
      try {
        const ready = await child.line(/\bready\b/, { withinMs: READY_WITHIN_MS });
        this.#watch(child);
        return { child, address: /\d+\.\d+\.\d+\.\d+:\d+/.exec(ready.words)?.[0] ?? "?" };
      } catch (error) {
        const taken = child.code !== undefined && /another program uses it/.test(child.text);
        if (!taken || tries === PORT_TRIES) throw error;
      }
    }
  }

  /** Starts a connector or an agent and waits until it is ready; answers what it said then. */
  async startClient(
    role: "connector" | "agent",
    options: { invite?: string; services?: readonly string[]; relayedOnly?: boolean },
  ): Promise<{ child: Child; ready: string }> {
    const { invite, services = [], relayedOnly = this.#relayedOnly } = options;
    const args = [role, "--state", this.state(role), ...(relayedOnly ? ["--no-direct"] : [])];
    if (invite !== undefined) {
      // A file, so that the token is in nobody's list of processes.
      const file = join(this.folder, `${role}.invite`);
      await Deno.writeTextFile(file, invite, { mode: 0o600 });
      args.push("--invite-file", file);
    }
    const child = this.#start(`the ${role}`, [...args, ...services]);
    const ready = await child.line(/\bready\b/, { withinMs: READY_WITHIN_MS });
    return { child, ready: ready.words };
  }

  /** Ends a role in good order. */
  async stop(child: Child): Promise<void> {
    this.#expected.add(child);
    await child.stop();
    this.#children.delete(child);
  }

  /**
   * Runs a command of this program to its end; answers what it printed.
   *
   * @throws {ChildEnded} where it fails
   */
  async run(args: readonly string[]): Promise<string> {
    const child = this.#start(`"postern ${args[0]}"`, args, { mayFail: true });
    const timer = setTimeout(() => child.kill(), COMMAND_WITHIN_MS);
    try {
      const code = await child.ended();
      if (code === 0) return child.text;
      throw new ChildEnded(child, `${child.title} ended with exit code ${code}`);
    } finally {
      clearTimeout(timer);
      this.#children.delete(child);
    }
  }

  /** What `postern status --json` says of a role; `undefined` where it does not run. */
  async status<T extends Status>(role: RoleFolder): Promise<T | undefined> {
    try {
      for await (const answer of askStatus(this.state(role), { ask: "status" })) return answer as T;
    } catch (error) {
      if (!(error instanceof NotRunning)) throw error;
    }
    return undefined;
  }

  /** Ends all processes, the last first, and removes the folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) this.#expected.add(child);
    await Promise.all(this.children.map((child) => child.stop()));
    globalThis.removeEventListener("unload", this.#onUnload);
    // Some systems let go of a dead process's files a little later.
    if (!this.#keep) await rm(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  #start(title: string, args: readonly string[], options: { mayFail?: boolean } = {}): Child {
    const json = ["--log-format", "json"];
    const child = new Child(title, this.#self, [...args, ...json]);
    this.#children.add(child);
    if (!options.mayFail) this.#watch(child);
    return child;
  }

  #watch(child: Child): void {
    void child.ended().then((code) => {
      if (this.#expected.has(child)) return;
      this.#broken.reject(new ChildEnded(child, `${child.title} ended with exit code ${code}`));
    });
  }

  #endAtOnce(): void {
    for (const child of this.#children) child.kill();
    try {
      if (!this.#keep) rmSync(this.folder, { recursive: true, force: true });
    } catch {
      /* a file of a child that is not quite dead: the system's temporary folder may keep it */
    }
  }
}
