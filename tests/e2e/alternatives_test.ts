/**
 * Several connectors for one service: new flows go to one that lives, soon after the other has died without a word.
 * @module
 */
import assert from "node:assert/strict";
import {
  eventually,
  freePort,
  inScene,
  isReadyToRun,
  type Relay,
  type Scene,
  type TestProcess,
} from "./harness.ts";

/** Says its name to whoever connects. */
function startNamed(name: string): { port: number; close: () => void } {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  void (async () => {
    for await (const conn of listener) {
      await conn.write(new TextEncoder().encode(name)).catch(() => {});
      conn.close();
    }
  })();
  return { port: (listener.addr as Deno.NetAddr).port, close: () => listener.close() };
}

/** Two services of one name, each beside a connector of its own. */
function createSides(scene: Scene) {
  const targets = { east: startNamed("east"), west: startNamed("west") };
  scene.atEnd(() => Object.values(targets).forEach((target) => target.close()));
  return {
    /** Invites one side's connector, starts it and waits for it. */
    async start(name: "east" | "west", relay: Relay): Promise<TestProcess> {
      const connector = scene.startConnector({
        invite: await scene.invite(relay, "connector", name, ["web"]),
        state: scene.path(name),
        services: [`web=127.0.0.1:${targets[name].port}`],
      });
      await connector.ready();
      return connector;
    },
  };
}

/** What the service says; `undefined` where it does not within half a second. */
async function ask(port: number): Promise<string | undefined> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  const timer = setTimeout(() => conn.close(), 500);
  try {
    const buffer = new Uint8Array(64);
    const length = await conn.read(buffer);
    return length ? new TextDecoder().decode(buffer.subarray(0, length)) : undefined;
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
    try {
      conn.close();
    } catch {
      // By the timer.
    }
  }
}

Deno.test({
  name: "new flows go to another connector when one dies without a word",
  ignore: !isReadyToRun(),
  fn: () =>
    inScene(async (scene) => {
      const sides = createSides(scene);
      const relay = await scene.startRelay();
      const connectors = new Map<string, TestProcess>();
      for (const name of ["east", "west"] as const) {
        connectors.set(name, await sides.start(name, relay));
      }
      const invite = await scene.invite(relay, "agent", "alice", ["web"]);
      const agent = scene.startAgent({ invite, services: [], args: [`web=${freePort()}`] });
      const said = await agent.process.ready();
      const port = Number(/web=127\.0\.0\.1:(\d+)/.exec(said)![1]);
      const first = await eventually("an answer", () => ask(port));
      await connectors.get(first)!.stop("SIGKILL");
      const died = performance.now();
      const second = await eventually("an answer from the other", async () => {
        const name = await ask(port);
        return name !== first ? name : undefined;
      }, { withinMs: 20_000 });
      const after = performance.now() - died;
      assert.equal(second, first === "east" ? "west" : "east");
      console.log(`new flows went to the other after ${Math.round(after)} ms`);
      // All of them do from now on.
      for (let i = 0; i < 5; i++) assert.equal(await ask(port), second);
      // An agent that comes new meets the dead one at most at the relay's word, and not for long.
      const bob = await scene.invite(relay, "agent", "bob", ["web"]);
      const other = scene.startAgent({
        invite: bob,
        state: scene.path("bob"),
        services: [],
        args: [`web=${freePort()}`],
      });
      const line = await other.process.ready();
      const bobs = Number(/web=127\.0\.0\.1:(\d+)/.exec(line)![1]);
      assert.equal(await eventually("bob's answer", () => ask(bobs)), second);
    }),
});

Deno.test({
  name: "an agent that comes back with a ticket of a connector that is away is served by another",
  ignore: !isReadyToRun(),
  fn: () =>
    inScene(async (scene) => {
      const sides = createSides(scene);
      const relay = await scene.startRelay();
      const east = await sides.start("east", relay);
      const state = scene.path("alice");
      const args = [`web=${freePort()}`];
      const port = Number(args[0]!.slice(4));
      const invite = await scene.invite(relay, "agent", "alice", ["web"]);
      const first = scene.startAgent({ invite, state, services: [], args });
      await first.process.ready();
      assert.equal(await eventually("an answer", () => ask(port)), "east");
      // Tickets come behind the handshake.
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      await first.process.stop("SIGTERM");
      await sides.start("west", relay);
      await east.stop("SIGTERM");
      const second = scene.startAgent({ state, services: [], args });
      await second.process.ready();
      assert.equal(await eventually("an answer from the other", () => ask(port)), "west");
      for (let i = 0; i < 5; i++) assert.equal(await ask(port), "west");
    }),
});
