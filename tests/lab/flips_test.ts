/**
 * As many bytes each way through one flow of the real program, while its tunnel changes its path every 200 ms: none is lost, none
 * comes twice.
 *
 * `POSTERN_FLIP_S` is how long, in seconds (8); 60 makes it 100 MiB each way.
 * @module
 */
import assert from "node:assert/strict";
import { hashOf, type TalkReport } from "./both_ways.ts";
import { Lab } from "./lab.ts";
import { LAB_PORTS, PosternInLab } from "./postern_in_lab.ts";
import { skipLab } from "./requirements.ts";

const ignore = skipLab("tests/lab/flips_test.ts");

const SECONDS = Number(Deno.env.get("POSTERN_FLIP_S") ?? 8);
const FLIP_MS = 200;
const MIB = 1024 * 1024;
/** 100 MiB in 60 s. */
const BYTES = Math.ceil(SECONDS * 100 / 60) * MIB;
/** What passes at most, so that it takes its time, in Mbit/s: those bytes and their packets' headers. */
const RATE_MBIT = 100 / 60 * 8 * 1.049 * 1.08;
const PROGRAM = new URL("both_ways.ts", import.meta.url);

Deno.test({
  name: `no byte is lost and none comes twice while a tunnel's path flips every ${FLIP_MS} ms`,
  ignore,
  async fn() {
    const link = { delayMs: 10 };
    await using lab = await Lab.create({ link, linkB: { rateMbit: RATE_MBIT } });
    await using postern = await PosternInLab.start(lab, {
      service: [PROGRAM, "serve", String(LAB_PORTS.service)],
      entry: { agent: new URL("flipping_agent.ts", import.meta.url) },
      env: { FLIP_MS: String(FLIP_MS) },
    });
    try {
      await postern.postern("agent", ["ping", "web", "-c", "3"]);
      const before = (await postern.path()).status.tunnels[0]!.pathChanges;
      const words = ["talk", String(LAB_PORTS.forward), String(BYTES)];
      const args = ["run", "-A", "--no-check", "--no-config", PROGRAM.pathname, ...words];
      const timeoutMs = 60_000 + 4_000 * SECONDS;
      const done = await lab.exec("agent", Deno.execPath(), args, { timeoutMs });
      assert.equal(done.code, 0, done.stderr);
      const report: TalkReport = JSON.parse(done.stdout);
      const flips = (await postern.path()).status.tunnels[0]!.pathChanges - before;
      console.log(`${BYTES / MIB} MiB each way in ${report.ms} ms, ${flips} changes of the path`);
      assert.equal(report.gotBytes, BYTES);
      assert.equal(report.got, hashOf("down", BYTES));
      assert.equal(report.arrived, report.sent);
      // Some fail for want of an answer in time; most must not, or this shows nothing.
      assert.ok(flips > 0.8 * report.ms / FLIP_MS, `${flips} changes in ${report.ms} ms`);
      assert.ok(report.ms > 0.9 * SECONDS * 1000, `over in ${report.ms} ms`);
    } catch (error) {
      console.error(postern.logs());
      throw error;
    }
  },
});
