/**
 * The demo's steps, in their order.
 * @module
 */
import { encodeUtf8 } from "../../core/mod.ts";
import { sleep } from "../waiting.ts";
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
/** How long a connection streams before its traces are looked for, in milliseconds. */
const LIVE_MS = 250;
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
    await this.#step("agent", "agent joined", () => this.#joinAgent());
    await this.#step("first-request", "first request through the tunnel", () => this.#first());
    await this.#step("blind-relay", "the relay reads nothing", () => this.#blindRelay());
    await this.#step("transfer-relayed", "large transfer, relayed", () => this.#transfer());
    await this.#step("refused", "a service that is not granted", () => this.#refused());
    await this.#step("revoke", "revoke, on a live connection", () => this.#revoke());
    await this.#step("grant", "grant it again", () => this.#grant());
    await this.#step("return", "agent back, without an invite", () => this.#return());
    await this.#step("path", "direct path", () => this.#path());
    if (this.#parts.report.figures.path === "direct") {
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

  /** Relayed only, so that what is shown of the relay is shown with everything passing through it. */
  async #joinAgent(): Promise<StepResult> {
    await this.#startAgent({
      invite: this.#invite,
      services: ["web=127.0.0.1:0", "vault=127.0.0.1:0"],
      relayedOnly: true,
    });
    return {
      result: `web is now at 127.0.0.1:${this.webPort}`,
      detail: "with --no-direct for now, so that what follows passes through the relay",
    };
  }

  async #startAgent(options: Parameters<Stage["startClient"]>[1]): Promise<void> {
    const { child, ready } = await this.#parts.stage.startClient("agent", options);
    this.#agent = child;
    const ports = ready.matchAll(/([a-z0-9-]+)=127\.0\.0\.1:(\d+)/g);
    this.#ports = Object.fromEntries([...ports].map(([, name, port]) => [name!, Number(port)]));
  }

  async #first(): Promise<StepResult> {
    const { report } = this.#parts;
    const answer = await this.#get();
    report.figures.firstRequestMs = round(answer.firstByteMs);
    const times = [];
    for (let i = 0; i < REQUESTS; i++) times.push((await this.#get()).firstByteMs);
    const middle = times.toSorted((a, b) => a - b)[REQUESTS >> 1]!;
    report.figures.requestMs = round(middle);
    return {
      result: `"${answer.body.split("\n")[0]}"`,
      detail: `answered after ${formatMs(answer.firstByteMs)}; ${REQUESTS} later requests, ` +
        `each on a new connection: ${formatMs(middle)} (median)`,
    };
  }

  async #blindRelay(): Promise<StepResult> {
    const { report: { figures }, stage, service } = this.#parts;
    const before = await this.#forwarded();
    using live = new LiveConnection(this.webPort);
    await live.started;
    // Into the middle of the stream, so that whoever handles the text has it in hand.
    await sleep(LIVE_MS, this.#parts.options.signal);
    const needle = encodeUtf8(service.marker);
    const agent = searchMemory(this.#agent!.pid, needle);
    const relay = searchMemory(this.#relay!.pid, needle);
    const after = await this.#forwarded();
    figures.relay.forwardedDatagrams = after.datagrams;
    figures.relay.forwardedBytes = after.bytes;
    const count = after.datagrams - before.datagrams;
    const path = (await stage.status<ClientStatus>("agent"))?.tunnels[0]?.path;
    if (path !== "relayed" || count === 0) throw new Error("the traffic did not pass through it");
    const result = `forwarded ${count} sealed datagrams of a page with a secret`;
    const why = "the tunnel's keys are in the agent and the connector alone";
    // Only where the same search finds the text in the agent does not finding it at the relay mean anything.
    if (!agent?.found || !relay) {
      return { result, detail: `${why} (here the demo cannot look into the relay's memory)` };
    }
    figures.relay.secretInMemory = relay.found;
    if (relay.found) throw new Error("the secret of the page is in the relay's memory");
    return {
      result,
      detail: [
        `meanwhile the secret was nowhere in the ${
          mebibytes(relay.bytes)
        } of the relay's memory; ` +
        "in the agent's it was",
        `(one look and no proof; the reason: ${why})`,
      ],
    };
  }

  async #transfer(): Promise<StepResult> {
    const { options, report: { figures }, stage, body } = this.#parts;
    const sha256 = await body.sha256();
    const rates: number[] = [];
    for (const [label, carry] of [["down ↓", download], ["up   ↑", upload]] as const) {
      options.working(undefined);
      const progress = options.progress(`  ${label}`, body.length);
      const rate = await carry({ port: this.webPort, body, sha256, progress });
      progress.finish(`${rate} Mbit/s, SHA-256 is right`);
      rates.push(rate);
    }
    const [downMbps = 0, upMbps = 0] = rates;
    const path = (await stage.status<ClientStatus>("agent"))?.tunnels[0]?.path ?? null;
    figures.transfers.push({ path, bytes: body.length, sha256, downMbps, upMbps });
    return {
      result: `${mebibytes(body.length)} each way: ${downMbps} Mbit/s down, ${upMbps} up`,
      detail: `${path ?? "unknown"} path; all the processes share ` +
        `${navigator.hardwareConcurrency} processors`,
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
    const { report, stage, options: { signal } } = this.#parts;
    using live = new LiveConnection(this.webPort);
    await live.started;
    const started = performance.now();
    await stage.run(["revoke", "--state", stage.state("relay"), "alice", "web"]);
    const ended = await Promise.race([live.ended, sleep(EFFECT_WITHIN_MS, signal)]);
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
    const { report: { figures }, stage } = this.#parts;
    await stage.stop(this.#agent!);
    const started = performance.now();
    await this.#startAgent({});
    const ready = performance.now() - started;
    const answer = await this.#get();
    const total = performance.now() - started;
    figures.returnMs = round(total);
    const status = await stage.status<ClientStatus>("agent");
    const tunnel = status?.tunnels[0];
    figures.earlyData = {
      relay: status?.relay.earlyData ?? null,
      tunnel: tunnel?.earlyData ?? null,
    };
    return {
      result: `first answer ${formatMs(total)} after its process was started` +
        (tunnel?.earlyData === "accepted" ? ", by 0-RTT" : ""),
      detail: [
        `ready after ${formatMs(ready)}, from its state folder alone; ` +
        `then the request took ${formatMs(answer.firstByteMs)}`,
        ...describeReturn(status, tunnel),
      ],
    };
  }

  async #path(): Promise<StepResult> {
    const { options, report: { figures }, stage } = this.#parts;
    const tunnel = await watchPath(() => stage.status<ClientStatus>("agent"), options);
    figures.path = tunnel?.path ?? null;
    figures.directAfterMs = tunnel?.directAfterMs == null ? null : round(tunnel.directAfterMs);
    figures.whyRelayed = tunnel?.whyRelayed ?? null;
    return describePath(tunnel, options);
  }

  /** What the relay has forwarded so far. */
  async #forwarded(): Promise<RelayStatus["forwarded"]> {
    const status = await this.#parts.stage.status<RelayStatus>("relay");
    if (!status) throw new Error("the relay does not answer for its status");
    return status.forwarded;
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
