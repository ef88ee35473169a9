/**
 * Back-pressure with the tunnel's real windows: what a flow holds whose reader does not read, and what it costs the others.
 * @module
 */
import assert from "node:assert/strict";
import { createEmulatedPair } from "../bench/emulated_pair.ts";
import { MemoryConn } from "../bench/memory_conn.ts";

const MIB = 1024 * 1024;

/**
 * What a sender may have handed over for a reader that does not read: the stream's window, what the sending engine takes ahead of
 * it, a buffer at each end, and the memory connections' own 256 KiB (and a write) at each end.
 */
const MAX_PER_FLOW = MIB / 4 + 2 * 256 * 1024 + 2 * (256 + 64) * 1024 + 512 * 1024;

Deno.test("100 flows whose readers do not read leave another at full speed, and hold what they may", async () => {
  let got = 0;
  const kept: MemoryConn[] = [];
  const pair = await createEmulatedPair({ delayMs: 1, loss: 0, mbps: 2_000, queueBytes: 4 * MIB }, {
    accept: ({ service }) => {
      const [near, far] = MemoryConn.pair();
      kept.push(far);
      if (service === "free") {
        void (async () => {
          const buffer = new Uint8Array(256 * 1024);
          for (;;) {
            const length = await far.read(buffer).catch(() => null);
            if (length === null) return;
            got += length;
          }
        })();
      }
      return Promise.resolve(near);
    },
  });
  const written: number[] = [];
  const open = async (service: string, stop: () => boolean) => {
    const index = written.push(0) - 1;
    const [near, far] = MemoryConn.pair();
    void (await pair.agent.openTcp(service, "test")).pipe(far).catch(() => {});
    const block = new Uint8Array(65_536);
    void (async () => {
      while (!stop()) written[index]! += await near.write(block);
    })().catch(() => {});
  };
  for (let i = 0; i < 100; i++) await open("stalled", () => false);
  const sum = () => written.reduce((a, b) => a + b, 0);
  for (let before = -1, still = 0; still < 4; before = sum()) {
    still = sum() === before ? still + 1 : 0;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  assert.ok(Math.max(...written) < MAX_PER_FLOW, `${Math.max(...written)} bytes for one flow`);
  // Far more than what 100 flows of 1 MiB each would leave of a common window of 128 MiB.
  const wanted = 160 * MIB;
  await open("free", () => got > wanted);
  const until = performance.now() + 60_000;
  while (got < wanted && performance.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.ok(got >= wanted, `only ${got} of ${wanted} bytes came beside 100 stalled flows`);
  const most = Math.max(...written.slice(0, 100));
  assert.ok(most < MAX_PER_FLOW, `${most} bytes for one flow`);
  pair.close();
  for (const conn of kept) conn.close();
});
