/**
 * A connector is set up anew under its name: refused, until the person who knows of it says so.
 * @module
 */
import assert from "node:assert/strict";
import { eventually, inScene, isReadyToRun, lacks, run, startPython } from "./harness.ts";

Deno.test({
  name:
    "a connector with another key is refused until `postern forget`, at a live agent and at a stopped one",
  ignore: !isReadyToRun() || lacks("forget end to end", "curl", "python3"),
  fn: () =>
    inScene(async (scene) => {
      const site = scene.path("site");
      await Deno.mkdir(site);
      await Deno.writeTextFile(`${site}/a.txt`, "hello");
      const target = `web=127.0.0.1:${await startPython(scene, site)}`;
      const relay = await scene.startRelay();
      const alice = await scene.invite(relay, "agent", "alice", ["web"]);
      let round = 0;
      /** Each time with a key of its own. */
      const setUp = async () => {
        if (round > 0) await scene.postern(["revoke", "--state", relay.state, "connector", "home"]);
        const invite = await scene.invite(relay, "connector", "home", ["web"]);
        const state = scene.path(`connector${round++}`);
        const connector = scene.startConnector({ invite, services: [target], state });
        await connector.ready();
        return connector;
      };
      const first = await setUp();
      const agent = scene.startAgent({ invite: alice, services: ["web"] });
      await agent.process.ready();
      const get = (port: number) =>
        run("curl", ["-sS", "--max-time", "5", `http://127.0.0.1:${port}/a.txt`]);
      const works = (port = agent.ports["web"]!) =>
        eventually(
          "a page",
          async () => (await get(port)).stdout === "hello" ? true : undefined,
          { withinMs: 20_000 },
        );
      await works();
      const forget = (...args: string[]) =>
        scene.postern(["forget", "--state", agent.state, ...args]);
      const unknown = await forget("connector", "office");
      assert.equal(unknown.code, 1);
      assert.match(unknown.stderr, /Cannot forget connector "office" as its key is not known here/);

      await first.stop();
      const second = await setUp();
      await eventually("the refusal", async () => {
        assert.notEqual((await get(agent.ports["web"]!)).code, 0, "not with another key");
        return /its key has changed/.test(agent.process.output()) ? true : undefined;
      });
      assert.match(agent.process.output(), /postern forget --state \S+ connector home/);
      const live = await forget("connector", "home");
      assert.equal(live.code, 0, live.stderr);
      assert.match(live.stdout, /^connector home: its key is forgotten/);
      await works();

      // The same with an agent that does not run.
      await second.stop();
      await setUp();
      await agent.process.stop();
      const stopped = await forget("connector", "home");
      assert.equal(stopped.code, 0, stopped.stderr);
      const again = scene.startAgent({ services: ["web"] });
      await again.process.ready();
      await works(again.ports["web"]!);

      const wrong = await forget("relay", "home");
      assert.equal(wrong.code, 2);
    }),
});
