/**
 * Each socket carries its own path: a firewall that blocks one leaves the other running, and what runs in it.
 * @module
 */
import assert from "node:assert/strict";
import { Download } from "./download.ts";
import { Lab } from "./lab.ts";
import { PosternInLab } from "./postern_in_lab.ts";
import { findCommand, skipLab } from "./requirements.ts";

const ignore = skipLab("tests/lab/blocked_ports_test.ts") || findCommand("curl") === undefined;

/** At 10 Mbit/s: some 8 s. */
const BYTES = 10_000_000;
const BLOCKED_AT = 1_000_000;
const PORTS = { relay: 6_100, p2p: 6_200 } as const;
/** The direct path's death has to be noticed; a direct tunnel must not notice that the relay is gone. */
const MAX_STALL_MS = { relay: 500, p2p: 2_000 } as const;

const results: { blocked: string; path: string; longestStallMs: number }[] = [];

for (const host of ["agent", "connector"] as const) {
  for (const port of ["p2p", "relay"] as const) {
    const path = port === "p2p" ? "relayed" : "direct";
    Deno.test({
      name: `blocking the ${host}'s ${port} port leaves the ${path} path running`,
      ignore,
      async fn() {
        await using lab = await Lab.create({ link: { delayMs: 10 }, linkB: { rateMbit: 10 } });
        const words = ["--relay-port", String(PORTS.relay), "--p2p-port", String(PORTS.p2p)];
        await using postern = await PosternInLab.start(lab, { flags: { [host]: words } });
        try {
          await postern.curl("/");
          await postern.untilPath("direct");
          const download = new Download(postern, BYTES);
          await download.reaches(BLOCKED_AT);
          const stall = download.longestStall(5_000);
          await lab.blockUdp(host === "agent" ? "A" : "B", { port: PORTS[port] });
          const longestStallMs = await stall;
          results.push({ blocked: `${host} ${port}`, path, longestStallMs });
          assert.ok(longestStallMs < MAX_STALL_MS[port], `${longestStallMs} ms without a byte`);
          // New flows work, too.
          assert.equal((await postern.curl("/", { withinS: 5 })).code, 0);
          assert.equal((await postern.path()).path, path);
          await download.isWhole();
        } catch (error) {
          console.error(postern.logs());
          throw error;
        }
      },
    });
  }
}

Deno.test.afterAll(() => {
  if (results.length > 0) console.table(results);
});
