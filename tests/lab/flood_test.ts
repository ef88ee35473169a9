/**
 * A relay under a flood of first packets from more than a thousand addresses: whoever is honest is served all the while, on running
 * tunnels and with new ones, and the relay holds no more than it may.
 * @module
 */
import assert from "node:assert/strict";
import type { RelayStatus } from "../../src/roles/status.ts";
import { usageOf } from "../bench/proc.ts";
import { TestProcess } from "../e2e/process.ts";
import { Lab } from "./lab.ts";
import { QUIET_ENV } from "./namespaces.ts";
import { RELAY } from "./plan.ts";
import { LAB_PORTS, PosternInLab } from "./postern_in_lab.ts";
import { findCommand, skipLab } from "./requirements.ts";

const ignore = skipLab("tests/lab/flood_test.ts") || findCommand("curl") === undefined;

const SECONDS = 8;
const PER_SECOND = 2_000;
/** A page through a tunnel whose round trip is 80 ms, in milliseconds. */
const MAX_PAGE_MS = 1_500;
/** A new handshake costs one round trip more, and a packet that the flood has pushed aside comes again. */
const MAX_START_MS = 5_000;
/**
 * Each handshake that the attacker begins takes some 60 KiB of the engine, which the garbage collector gives back, and not at
 * once: 2,400 of them, though no more than 1,000 are in the table at a time; and the heap.
 */
const MAX_GROWTH_MIB = 240;

async function page(postern: PosternInLab): Promise<number> {
  const asked = performance.now();
  const { code, stderr } = await postern.curl("/", { withinS: 10 });
  assert.equal(code, 0, stderr);
  return performance.now() - asked;
}

Deno.test({
  name: "honest clients are served while a relay is flooded from a thousand addresses",
  ignore,
  async fn() {
    await using lab = await Lab.create({ v6: "off", link: { delayMs: 10 } });
    // Addresses of the attacker's own, so that it hears answers, too.
    const routes = await lab.exec("inet", "ip", [
      "route",
      "add",
      "local",
      "10.98.0.0/15",
      "dev",
      "lo",
    ]);
    assert.equal(routes.code, 0, routes.stderr);
    const flags = { agent: ["--no-direct"], connector: ["--no-direct"] };
    await using postern = await PosternInLab.start(lab, { flags });
    try {
      const quiet = await page(postern);
      const { pid } = postern.process("relay");
      const before = usageOf(pid);
      const attacker = new URL("flood_attacker.ts", import.meta.url).pathname;
      const config = new URL("../../deno.json", import.meta.url).pathname;
      const words = [RELAY.v4[0], LAB_PORTS.relay, SECONDS, PER_SECOND].map(String);
      const run = [Deno.execPath(), "run", "-A", "--no-check", "--config", config, attacker];
      await using flood = new TestProcess({
        title: "attacker",
        command: "ip",
        args: ["netns", "exec", lab.namespace("inet"), ...run, ...words],
        env: QUIET_ENV,
      });
      await flood.line(/flooding/);
      const begun = performance.now();
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      const pages = [await page(postern)];
      await postern.stopRole("agent");
      const started = performance.now();
      await postern.startRole("agent").ready();
      const startMs = performance.now() - started;
      while (performance.now() - begun < 1_000 * SECONDS - 1_500) pages.push(await page(postern));
      const status = await postern.status("relay") as RelayStatus;
      const after = usageOf(pid);
      const did = JSON.parse(await flood.line(/^\{/));
      const grownMiB = (after.residentBytes - before.residentBytes) / 2 ** 20;
      console.table([{
        "page, quiet ms": Math.round(quiet),
        "page, worst ms": Math.round(Math.max(...pages)),
        pages: pages.length,
        "agent starts ms": Math.round(startMs),
        "relay CPU s": Math.round(10 * (after.cpuSeconds - before.cpuSeconds)) / 10,
        "relay grew MiB": Math.round(grownMiB),
        ...did,
      }]);
      assert.ok(did.strangers > SECONDS * PER_SECOND / 4, "the attacker was too slow");
      // Without a Retry for nearly all of them each would have cost a handshake.
      assert.ok(did.answers > did.strangers / 2, `${did.answers} of ${did.strangers} got a Retry`);
      assert.ok(Math.max(...pages) < MAX_PAGE_MS, `${Math.max(...pages)} ms for a page`);
      assert.ok(startMs < MAX_START_MS, `${startMs} ms for a new handshake`);
      assert.ok(grownMiB < MAX_GROWTH_MIB, `${grownMiB} MiB more`);
      const names = status.clients.map(({ name }) => name).toSorted();
      assert.deepEqual(names, ["alice", "home"]);
    } catch (error) {
      console.error(postern.logs());
      throw error;
    }
  },
});
