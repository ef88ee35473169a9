/**
 * A small network whose agent comes back: a relay, a connector with one echo service, and an agent behind a wire tap that
 * can hold its first flight and send it again.
 * @module
 */
import assert from "node:assert/strict";
import type { CommonOptions, ConnectorOptions, RelayOptions } from "../../src/roles/options.ts";
import type { ClientStatus, EarlyCounts, RelayStatus } from "../../src/roles/status.ts";
import { DEFAULT_MAX_FUTURE_MS } from "../../src/zero_rtt/mod.ts";
import { eventually, freePort } from "./scene.ts";
import { exchange, Stage, type StageRole, startLineEcho } from "./stage.ts";
import { type HeldDatagram, WireTap } from "./wire_tap.ts";

/** How long the first flight is held: an application's first bytes get into it meanwhile. */
const HOLD_MS = 400;

/** More than one packet, so that order and repetition would show. */
export const QUESTION = Array.from({ length: 400 }, (_, i) => `line ${i} of the question\n`).join(
  "",
);

/** See the module's head. */
export class EarlyScene implements AsyncDisposable {
  readonly stage = new Stage();
  readonly tap = new WireTap(this.stage, freePort());
  /** Connections that the service has got. */
  dials = 0;
  relay!: StageRole;
  connector!: StageRole;
  agent!: StageRole;
  readonly #service: number;
  readonly #local = freePort();

  private constructor() {
    this.#service = startLineEcho(this.stage, { onConnect: () => this.dials++ });
  }

  /** A network in which the agent has been once, has both tickets, and is away. */
  static async afterFirstVisit(
    agent: Partial<CommonOptions> = {},
    connector: Partial<ConnectorOptions> = {},
  ): Promise<EarlyScene> {
    const scene = new EarlyScene();
    const { stage } = scene;
    await scene.startRelay();
    await scene.startConnector(connector, await stage.invite("connector", "home"));
    scene.#startAgent(agent, await stage.invite("agent", "alice"));
    await scene.agent.ready();
    await scene.ask();
    await eventually("both tickets", async () => {
      const file = `${scene.agent.state}/tickets.json`;
      const { tickets } = JSON.parse(await Deno.readTextFile(file));
      return tickets.length === 2 ? true : undefined;
    }, { everyMs: 20, withinMs: 10_000 });
    await scene.agent.stop();
    await scene.settle();
    return scene;
  }

  async startRelay(options: Partial<RelayOptions> = {}): Promise<void> {
    const at = { host: "127.0.0.1", port: this.tap.port };
    this.relay = await this.stage.relay({ public: [at], ...options }).ready();
  }

  async startConnector(
    more: Partial<ConnectorOptions> = {},
    invite?: string,
  ): Promise<void> {
    this.connector = await this.stage.connector({
      services: { web: this.#service },
      more,
      ...(invite === undefined ? {} : { invite }),
    }).ready();
  }

  /** Waits until a receiver that has just started takes early data: what was issued in its first second it does not know. */
  settle(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, DEFAULT_MAX_FUTURE_MS + 200));
  }

  /** One question through the tunnel; it must be answered byte for byte, by one connection. */
  async ask(): Promise<void> {
    const before = this.dials;
    const answer = await exchange(this.#local, QUESTION, { withinMs: 5_000 });
    // Said in short where it is wrong: the whole would fill the screen.
    assert.ok(answer === QUESTION, `${answer.length} characters came back, not ${QUESTION.length}`);
    assert.equal(this.dials, before + 1);
  }

  /**
   * The agent comes back, with a question of an application in its first flight. Answers that flight, when the question has
   * its answer.
   */
  async comeBack(agent: Partial<CommonOptions> = {}): Promise<readonly HeldDatagram[]> {
    const asked = await this.askHeld(agent);
    const flight = await this.tap.release();
    await asked.answered;
    await this.agent.ready();
    return flight;
  }

  /** The agent comes back and is asked at once, but nothing of that has left yet. */
  async askHeld(agent: Partial<CommonOptions> = {}): Promise<{ answered: Promise<void> }> {
    this.tap.hold();
    this.#startAgent(agent);
    await eventually("the agent's local port", async () => {
      (await Deno.connect({ hostname: "127.0.0.1", port: this.#local })).close();
      return true;
    }, { everyMs: 5, withinMs: 10_000 });
    const answered = this.askOnce();
    answered.catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, HOLD_MS));
    return { answered };
  }

  /** As {@linkcode ask}, where another connection (the look at the port) may have come before. */
  async askOnce(): Promise<void> {
    const answer = await exchange(this.#local, QUESTION, { withinMs: 5_000 });
    // Said in short where it is wrong: the whole would fill the screen.
    assert.ok(answer === QUESTION, `${answer.length} characters came back, not ${QUESTION.length}`);
  }

  /** What the agent says of its early data, at the relay and in the tunnel. */
  async early(): Promise<{ relay: string | null; tunnel: string | null | undefined }> {
    const status = await eventually("the tunnel's answer", async () => {
      const { relay, tunnels } = await this.agent.status() as ClientStatus;
      if (relay.state !== "connected" || tunnels.length === 0) return undefined;
      return { relay: relay.earlyData, tunnel: tunnels[0]?.earlyData };
    }, { everyMs: 50, withinMs: 10_000 });
    return status;
  }

  /** Waits until the relay knows that the agent has gone. */
  async agentGone(): Promise<void> {
    await eventually("the agent's leave", async () => {
      const { clients, tunnels } = await this.relay.status() as RelayStatus;
      return clients.every(({ kind }) => kind !== "agent") && tunnels.length === 0 || undefined;
    }, { everyMs: 20, withinMs: 10_000 });
  }

  async counts(): Promise<{ relay: EarlyCounts; connector: EarlyCounts }> {
    const relay = await this.relay.status() as RelayStatus;
    const connector = await this.connector.status() as ClientStatus;
    return { relay: relay.early, connector: connector.early! };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stage[Symbol.asyncDispose]();
  }

  #startAgent(more: Partial<CommonOptions>, invite?: string): void {
    this.agent = this.stage.agent({
      forwards: { web: this.#local },
      more,
      ...(invite === undefined ? {} : { invite }),
    });
  }
}
