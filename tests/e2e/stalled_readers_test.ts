/**
 * Back-pressure to the edge: readers that take 1 KiB a second from a sender that never stops. The sender's own TCP window closes,
 * agent and connector hold no more than their bound, and another flow runs as if there were none of them.
 *
 * `POSTERN_E2E_STALL_S` says for how many seconds (5 by default).
 * @module
 */
import assert from "node:assert/strict";
import { usageOf } from "../bench/proc.ts";
import { inScene, isReadyToRun, openAll, serveTcp } from "./harness.ts";

const SECONDS = Number(Deno.env.get("POSTERN_E2E_STALL_S") ?? 5);
const READERS = 100;
const MIB = 1024 * 1024;

/**
 * What one end may hold for each: the window of a flow that was never read fast (256 KiB), a buffer of a pipe (256 KiB at most), and
 * what the allocator makes of it.
 */
const HELD_PER_FLOW = MIB;

/**
 * What a sender may get rid of for one: all that, at both ends, and the kernel's buffers of two TCP connections (at most 6 MiB to
 * receive and 4 MiB to send each, Linux's defaults).
 */
const SENT_PER_FLOW = 2 * HELD_PER_FLOW + 2 * 10 * MIB;

/** A sender fills what takes anything within this; it is seconds. */
const FILL_WITHIN_MS = 60_000;

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

interface Flow {
  service: string;
  protocol: string;
  peer: string;
  ageSeconds: number;
  bytesIn: number;
  bytesOut: number;
  stalledBy: string | null;
}

Deno.test({
  name:
    `${READERS} readers of 1 KiB/s for ${SECONDS} s cost what is stated, and nobody else's speed`,
  ignore: !isReadyToRun() || Deno.build.os !== "linux",
  fn: () =>
    inScene(async (scene) => {
      const sent: { bytes: number }[] = [];
      const blob = new Uint8Array(64 * 1024);
      const flood = async (connection: Deno.TcpConn) => {
        const counted = { bytes: 0 };
        sent.push(counted);
        try {
          for (;;) counted.bytes += await connection.write(blob);
        } catch {
          // The reader has left.
        }
        connection.close();
      };
      const { web } = await openAll(scene, { web: serveTcp(scene, flood) });
      const connect = () => Deno.connect({ hostname: "127.0.0.1", port: web! });
      const room = new Uint8Array(256 * 1024);
      /** Milliseconds that 64 MiB take. */
      const transfer = async () => {
        const started = performance.now();
        using connection = await connect();
        for (let got = 0; got < 64 * MIB;) got += await connection.read(room) ?? Infinity;
        return performance.now() - started;
      };
      const memory = () => {
        const of = (title: string) =>
          usageOf(scene.processes.find((one) => one.title === title)!.pid).residentBytes;
        return { agent: of("agent"), connector: of("connector") };
      };
      // Buffers and compiled code are there after the first of it.
      await transfer();
      const alone = await transfer();
      await sleep(500);
      const before = memory();
      sent.length = 0;

      const readers = await Promise.all(Array.from({ length: READERS }, connect));
      let over = false;
      const sip = async (connection: Deno.TcpConn) => {
        const kibibyte = new Uint8Array(1024);
        while (!over) {
          await connection.read(kibibyte);
          await sleep(1_000);
        }
        connection.close();
      };
      const sipping = readers.map((reader) => sip(reader));
      const total = () => sent.reduce((sum, { bytes }) => sum + bytes, 0);
      // Until the kernel's buffers, which grow as they fill, are full.
      const filledBy = performance.now() + FILL_WITHIN_MS;
      for (let last = -1, still = 0; still < 4 && performance.now() < filledBy;) {
        await sleep(500);
        still = total() - last < READERS * 4_096 ? still + 1 : 0;
        last = total();
      }
      const [filled, filledAt] = [total(), performance.now()];
      const most = memory();
      const until = performance.now() + SECONDS * 1_000;
      while (performance.now() < until) {
        await sleep(500);
        const now = memory();
        most.agent = Math.max(most.agent, now.agent);
        most.connector = Math.max(most.connector, now.connector);
      }
      const seconds = (performance.now() - filledAt) / 1_000;
      // The kernel's windows are closed: no more leaves than readers take (and what goes in blocks, a block each).
      const leaked = total() - filled;
      assert.ok(
        leaked <= READERS * (1_024 * (seconds + 1) + 2 * blob.length + MIB),
        `${leaked} bytes in ${seconds} s`,
      );
      const largest = Math.max(...sent.map(({ bytes }) => bytes));
      assert.ok(largest < SENT_PER_FLOW, `${largest} bytes for one reader`);
      const grown = {
        agent: (most.agent - before.agent) / MIB,
        connector: (most.connector - before.connector) / MIB,
      };
      for (const [role, mebibytes] of Object.entries(grown)) {
        assert.ok(mebibytes * MIB < READERS * HELD_PER_FLOW, `${role} grew by ${mebibytes} MiB`);
      }
      const flowsAt = async (role: string) => {
        const { tunnels } = await scene.status(scene.path(role));
        return (tunnels as { flowList: Flow[] }[]).flatMap(({ flowList }) => flowList);
      };
      // Each end says who holds the flow up, as it sees it.
      for (const [role, who] of [["agent", "application"], ["connector", "tunnel"]] as const) {
        const flows = await flowsAt(role);
        assert.equal(flows.length, READERS);
        assert.ok(flows.every((flow) => flow.stalledBy === who), JSON.stringify(flows[0]));
        const peer = role === "agent" ? /^127\.0\.0\.1:\d+$/ : /^alice$/;
        for (const flow of flows) {
          assert.deepEqual([flow.service, flow.protocol], ["web", "tcp"]);
          assert.match(flow.peer, peer);
          assert.ok(flow.ageSeconds >= 1 && flow.ageSeconds < SECONDS + 60, `${flow.ageSeconds} s`);
          assert.ok(
            (role === "agent" ? flow.bytesIn : flow.bytesOut) > 100_000,
            JSON.stringify(flow),
          );
        }
      }
      const beside = await transfer();
      console.log(
        `64 MiB: ${alone.toFixed(0)} ms alone, ${
          beside.toFixed(0)
        } ms beside ${READERS} readers of 1 KiB/s; ` +
          `in ${seconds.toFixed(0)} s the agent grew by ${grown.agent.toFixed(1)} MiB, ` +
          `the connector by ${grown.connector.toFixed(1)}; ${
            (largest / MIB).toFixed(1)
          } MiB left the sender for one`,
      );
      assert.ok(beside < 2 * alone + 1_000, `${beside} ms beside them, ${alone} ms alone`);
      over = true;
      await Promise.all(sipping);
      for (const process of scene.processes) assert.ok(!process.ended, `${process.title} lives`);
    }),
});
