/**
 * The demo's steps, in their order.
 * @module
 */
import { encodeUtf8 } from "../../core/mod.ts";
import { sleep } from "../joining.ts";
import type { DemoOptions } from "../options.ts";
import type { ClientStatus, RelayStatus } from "../status.ts";
import type { Child } from "./child.ts";
import { exchange, type HttpAnswer } from "./http_exchange.ts";
import { LiveConnection } from "./live_connection.ts";
import { searchMemory } from "./memory_search.ts";
import { describePath, describeReturn, watchPath } from "./path_words.ts";
import { type DemoReport, formatMs, round, type StepResult } from "./report.ts";
import type { Stage } from "./stage.ts";
import { download, upload } from "./transfer.ts";
import type { LargeBody, WebService } from "./web_service.ts";

/** A step that takes longer than this has failed, in milliseconds. */
const STEP_WITHIN_MS = 180_000;
/** What "within seconds" may mean at most, in milliseconds. */
const EFFECT_WITHIN_MS = 15_000;
/** Between two tries of something that will soon be so, in milliseconds. */
const LOOK_INTERVAL_MS = 20;
/** Requests of which the middle one is shown. */
const REQUESTS = 21;

/** The person stopped the demo before its end. */
export class Stopped extends Error {
  override readonly name = "Stopped";
}

/** What the steps play with. */
export interface ScriptParts {
  readonly options: DemoOptions;
  readonly report: DemoReport;
  readonly stage: Stage;
  readonly service: WebService;
  readonly body: LargeBody;
}

/** See the module's head. */
export class Script {
  readonly #parts: ScriptParts;
  #relay: Child | undefined;
  #agent: Child | undefined;
  #invite = "";
  /** The agent's local ports. */
  #ports: Readonly<Record<string, number>> = {};

  constructor(parts: ScriptParts) {
    this.#parts = parts;
  }

  /** Where the agent leads to the web service now. */
  get webPort(): number {
    return this.#ports.web ?? 0;
  }

  /**
   * Plays all steps.
   *
   * @throws {StepFailed} at the first that fails
   */
  async play(): Promise<void> {
    await this.#step("relay", "relay ready", () => this.#startRelay());
    await this.#step(
      "invite-connector",
      'invite for connector "home"',
      () => this.#makeInvite("connector", "home", ["web", "vault"]),
    );
    await this.#step("connector", "connector joined", () => this.#startConnector());
    await this.#step(
      "invite-agent",
      'invite for agent "alice"',
      () => this.#makeInvite("agent", "alice", ["web"]),
    );
    await this.#step("agent", "agent joined", () => this.#startAgent());
    await this.#step("first-request", "first request through the tunnel", () => this.#first());
    await this.#step("blind-relay", "the relay reads nothing", () => this.#blindRelay());
    await this.#step("transfer-relayed", "large transfer, relayed", () => this.#transfer());
    await this.#step("refused", "a service that is not granted", () => this.#refused());
    await this.#step("revoke", "revoke, on a live connection", () => this.#revoke());
    await this.#step("grant", "grant it again", () => this.#grant());
    await this.#step("return", "agent back, without an invite", () => this.#return());
    await this.#step("path", "from relayed to direct", () => this.#path());
    if (this.#path_ === "direct") {
      await this.#step("transfer-direct", "large transfer, direct", () => this.#transfer());
    }
  }

  async #startRelay(): Promise<StepResult> {
    const { child, address } = await this.#parts.stage.startRelay();
    this.#relay = child;
    return { result: `at ${address}`, detail: "its first start has made the network's keys" };
  }

  async #makeInvite(
    kind: "connector" | "agent",
    name: string,
    services: readonly string[],
  ): Promise<StepResult> {
    const flag = kind === "connector" ? "--service" : "--allow";
    const flags = services.flatMap((service) => [flag, service]);
    const { stage } = this.#parts;
    const said = await stage.run(["invite", "--state", stage.state("relay"), kind, name, ...flags]);
    this.#invite = said.split("\n")[0] ?? "";
    const verb = kind === "connector" ? "offer" : "open";
    return { result: `good once, for one hour; it may ${verb} ${services.join(" and ")}` };
  }

  async #startConnector(): Promise<StepResult> {
    const { stage, service } = this.#parts;
    const target = `127.0.0.1:${service.port}`;
    await stage.startClient("connector", {
      invite: this.#invite,
      services: [`web=${target}`, `vault=${target}`],
    });
    return {
      result: `offers web at ${target}`,
      detail: "its key was made on its own machine and never leaves it; it listens on no port",
    };
  }

  async #startAgent(options: { invite?: string; services?: readonly string[] } = {
    invite: this.#invite,
    services: ["web=127.0.0.1:0", "vault=127.0.0.1:0"],
  }): Promise<StepResult> {
    const { child, ready } = await this.#parts.stage.startClient("agent", options);
    this.#agent = child;
    this.#ports = Object.fromEntries(
      [...ready.matchAll(/([a-z0-9-]+)=127\.0\.0\.1:(\d+)/g)].map(([, name, port]) => [
        name!,
        Number(port),
      ]),
    );
    return { result: `web is now at 127.0.0.1:${this.webPort}` };
  }

  async #first(): Promise<StepResult> {
    const { report, service } = this.#parts;
    const answer = await this.#get();
    report.figures.firstRequestMs = round(answer.firstByteMs);
    const times = [];
    for (let i = 0; i < REQUESTS; i++) times.push((await this.#get()).firstByteMs);
    const middle = times.toSorted((a, b) => a - b)[REQUESTS >> 1]!;
    report.figures.requestMs = round(middle);
    return {
      result: `"${answer.body.split("\n")[0]}"`,
      detail: `answer after ${formatMs(answer.firstByteMs)}; later requests, each on a ` +
        `connection of its own: ${formatMs(middle)} (the service saw ${service.requests})`,
    };
  }

  async #path(): Promise<StepResult> {
    const { options, report, stage } = this.#parts;
    const tunnel = await watchPath(() => stage.status<ClientStatus>("agent"), options);
    report.figures.path = tunnel?.path ?? null;
    report.figures.directAfterMs = tunnel?.directAfterMs ?? null;
    report.figures.whyRelayed = tunnel?.whyRelayed ?? null;
    return describePath(tunnel, options);
  }

  async #blindRelay(): Promise<StepResult> {
    const { report, stage, service } = this.#parts;
    using live = new LiveConnection(this.webPort);
    await live.started;
    // Into the middle of the stream, so that whoever handles the text has it in hand.
    await sleep(200, this.#parts.options.signal);
    const needle = encodeUtf8(service.marker);
    const agent = searchMemory(this.#agent!.pid, needle);
    const relay = searchMemory(this.#relay!.pid, needle);
    const status = await stage.status<RelayStatus>("relay");
    const { datagrams, bytes } = status?.forwarded ?? { datagrams: 0, bytes: 0 };
    report.figures.relay.forwardedDatagrams = datagrams;
    report.figures.relay.forwardedBytes = bytes;
    const forwarded = `it has forwarded ${datagrams} sealed datagrams, unchanged`;
    // Only where the same search finds the text in the agent does not finding it at the relay mean anything.
    if (!agent?.found || !relay) {
      return {
        result: forwarded,
        detail: "their keys are in the agent and the connector alone " +
          "(this system does not let the demo look into the relay's memory)",
      };
    }
    report.figures.relay.secretInMemory = relay.found;
    if (relay.found) throw new Error("the text of the page is in the relay's memory");
    return {
      result: forwarded,
      detail: [
        `while a page with a secret text passed through: searched ${
          mebibytes(relay.bytes)
        } of the ` +
        "relay's memory, and it is not there; in the agent's memory the same search finds it",
        "(a look at one moment, not a proof; what makes it so is that the tunnel's keys never leave its two ends)",
      ],
    };
  }

  async #transfer(): Promise<StepResult> {
    const { options, report, stage, body } = this.#parts;
    const sha256 = body.sha256();
    const ways = { "down ↓": download, "up   ↑": upload };
    const rates: number[] = [];
    for (const [label, carry] of Object.entries(ways)) {
      options.working(undefined);
      const progress = options.progress(`  ${label}`, body.length);
      const rate = await carry({ port: this.webPort, body, sha256, progress });
      progress.finish(`${rate} Mbit/s, SHA-256 ${sha256.slice(0, 8)}… is right`);
      rates.push(rate);
    }
    const [downloadMbps = 0, uploadMbps = 0] = rates;
    Object.assign(report.figures, { downloadMbps, uploadMbps, transferBytes: body.length });
    const tunnel = (await stage.status<ClientStatus>("agent"))?.tunnels[0];
    return {
      result: `${mebibytes(body.length)} each way: ${downloadMbps} Mbit/s down, ${uploadMbps} up` +
        (tunnel ? `, ${tunnel.path}` : ""),
      detail: "hashing, the web service and its client take their share of these processors too",
    };
  }

  async #refused(): Promise<StepResult> {
    const { service } = this.#parts;
    const before = service.requests;
    const from = this.#agent!.said;
    await this.#mustFail(this.#ports.vault!, 'agent "alice" could open "vault"');
    const line = await this.#agent!.line(/is not granted it/, { withinMs: 5_000, from });
    if (service.requests !== before) throw new Error("a request reached the service all the same");
    return {
      result: "refused; nothing reached the service",
      detail: `the agent's log: ${/Cannot .*/.exec(line.words)?.[0] ?? line.words}`,
    };
  }

  async #revoke(): Promise<StepResult> {
    const { report, stage } = this.#parts;
    using live = new LiveConnection(this.webPort);
    await live.started;
    const started = performance.now();
    await stage.run(["revoke", "--state", stage.state("relay"), "alice", "web"]);
    const late = sleep(EFFECT_WITHIN_MS, AbortSignal.any([]));
    const ended = await Promise.race([live.ended, late]);
    if (ended === undefined) {
      throw new Error(
        `the connection still lives ${EFFECT_WITHIN_MS / 1000} s after the revocation`,
      );
    }
    report.figures.revokeMs = round(ended - started);
    await this.#mustFail(this.webPort, "a new connection was let through after the revocation");
    return {
      result: `cut ${formatMs(ended - started)} after the command was started`,
      detail: "an open connection in mid-stream was ended, and a new one was refused",
    };
  }

  async #grant(): Promise<StepResult> {
    const { stage } = this.#parts;
    const started = performance.now();
    await stage.run(["grant", "--state", stage.state("relay"), "alice", "web"]);
    await this.#soon();
    return { result: `open again after ${formatMs(performance.now() - started)}` };
  }

  async #return(): Promise<StepResult> {
    const { options, report, stage } = this.#parts;
    await stage.stop(this.#agent!);
    const started = performance.now();
    await this.#startAgent({});
    const ready = performance.now() - started;
    await this.#soon();
    const total = performance.now() - started;
    report.figures.returnMs = round(total);
    const status = await stage.status<ClientStatus>("agent");
    const tunnel = await watchPath(() => stage.status<ClientStatus>("agent"), options);
    report.figures.earlyData = {
      relay: status?.relay.earlyData ?? null,
      tunnel: tunnel?.earlyData ?? null,
    };
    report.figures.path = tunnel?.path ?? report.figures.path;
    return {
      result: `first answer ${formatMs(total)} after its process started`,
      detail: [
        `${formatMs(ready)} of it until it was ready, from its state folder alone`,
        ...describeReturn(status, tunnel),
      ],
    };
  }

  /** A page of the service. */
  async #get(): Promise<HttpAnswer> {
    const answer = await exchange({ port: this.webPort, path: "/" });
    if (answer.status !== 200 || !answer.body.includes(this.#parts.service.marker)) {
      throw new Error(`the answer was not the service's page, but status ${answer.status}`);
    }
    return answer;
  }

  /** Asks until the page comes. */
  async #soon(): Promise<void> {
    const until = performance.now() + EFFECT_WITHIN_MS;
    for (;;) {
      try {
        return void await this.#get();
      } catch (error) {
        if (performance.now() > until) throw error;
      }
      await sleep(LOOK_INTERVAL_MS, this.#parts.options.signal);
    }
  }

  /** A connection there must not get an answer. */
  async #mustFail(port: number, otherwise: string): Promise<void> {
    let answer: HttpAnswer;
    try {
      answer = await exchange({ port, path: "/" });
    } catch {
      return;
    }
    throw new Error(`${otherwise} (status ${answer.status})`);
  }

  /** A step that also ends when a process dies, the person stops it, or it takes too long. */
  async #step(name: string, title: string, work: () => Promise<StepResult>): Promise<void> {
    const { report, stage, options: { signal } } = this.#parts;
    const over = new AbortController();
    const late = async (): Promise<never> => {
      await sleep(STEP_WITHIN_MS, AbortSignal.any([signal, over.signal]));
      if (signal.aborted) throw new Stopped("stopped before its end");
      throw new Error(`it took more than ${STEP_WITHIN_MS / 1000} s`);
    };
    try {
      await report.step(name, title, async () => {
        const ending = late();
        ending.catch(() => {});
        const working = work();
        working.catch(() => {});
        return await Promise.race([working, stage.broken, ending]);
      });
    } finally {
      over.abort();
    }
  }
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}

/** Whether the demo was stopped, and not broken. */
export function wasStopped(error: unknown): boolean {
  return error instanceof Stopped || (error instanceof Error && error.cause instanceof Stopped);
}
