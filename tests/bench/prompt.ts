/**
 * Are bulk flows fair to each other, and to one that asks and answers? Four bulk flows at full speed and one echo, in one
 * tunnel over an emulated link.
 * @module
 */
import { type Cell, percentile, round } from "./benchmark.ts";
import { createEmulatedPair, type LinkShape } from "./emulated_pair.ts";
import { MemoryConn } from "./memory_conn.ts";

/** What came of it. */
export interface Promptness {
  /** Mbit/s of each bulk flow. */
  readonly bulk: readonly number[];
  /** Milliseconds of each echo of 100 bytes. */
  readonly echoes: readonly number[];
}

/** What {@linkcode promptCells} are. */
export const PROMPT_COLUMNS = [
  "bulk Mbit/s",
  "share off by %",
  "echo p50 ms",
  "echo p99 ms",
  "wanted p99 ms",
] as const;

/** It as cells of a table: how much in all, how far from an equal share at most, and how the echoes fared. */
export function promptCells({ bulk, echoes }: Promptness, rtt: number): Cell[] {
  const mean = bulk.reduce((a, b) => a + b) / bulk.length;
  const off = Math.max(...bulk.map((each) => Math.abs(each / mean - 1))) * 100;
  const times = [percentile(echoes, 50), percentile(echoes, 99)];
  return [...[mean * bulk.length, off, ...times].map(round), 2 * rtt + 20];
}

/** Runs `flows` bulk flows in a direction, and one echo beside them. */
export async function measurePromptness(
  shape: LinkShape,
  options: { seconds: number; direction: "up" | "down"; flows?: number },
): Promise<Promptness> {
  const { seconds, direction, flows = 4 } = options;
  const pair = await createEmulatedPair(shape, {
    accept: ({ service }) => {
      const [near, far] = MemoryConn.pair();
      if (service === "echo") void echo(far);
      else if (direction === "down") void flood(far);
      else received.push(count(far));
      return Promise.resolve(near);
    },
  });
  const received: { bytes: number }[] = [];
  for (let i = 0; i < flows; i++) {
    const [near, far] = MemoryConn.pair();
    const flow = await pair.agent.openTcp("bulk", "test");
    void flow.pipe(far).catch(() => {});
    if (direction === "up") void flood(near);
    else received.push(count(near));
  }
  const [near, far] = MemoryConn.pair();
  const flow = await pair.agent.openTcp("echo", "test");
  void flow.pipe(far).catch(() => {});
  const buffer = new Uint8Array(100);
  const ask = async () => {
    const start = performance.now();
    await near.write(buffer);
    for (let got = 0; got < buffer.length;) got += await near.read(buffer) ?? 100;
    return performance.now() - start;
  };
  // The start of a connection is another matter.
  const warm = performance.now() + 1_500;
  while (performance.now() < warm) await ask();
  const before = received.map(({ bytes }) => bytes);
  const start = performance.now();
  const echoes: number[] = [];
  while (performance.now() - start < seconds * 1000) {
    echoes.push(await ask());
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const took = performance.now() - start;
  const bulk = received.map(({ bytes }, i) => (bytes - before[i]!) * 8 / took / 1000);
  pair.close();
  return { bulk, echoes };
}

async function echo(conn: MemoryConn): Promise<void> {
  const buffer = new Uint8Array(4096);
  for (;;) {
    const length = await conn.read(buffer).catch(() => null);
    if (length === null) return;
    await conn.write(buffer.subarray(0, length)).catch(() => {});
  }
}

async function flood(conn: MemoryConn): Promise<void> {
  const block = new Uint8Array(65_536);
  try {
    for (;;) await conn.write(block);
  } catch {
    // Over.
  }
}

function count(conn: MemoryConn): { bytes: number } {
  const counted = { bytes: 0 };
  const buffer = new Uint8Array(256 * 1024);
  void (async () => {
    for (;;) {
      const length = await conn.read(buffer).catch(() => null);
      if (length === null) return;
      counted.bytes += length;
    }
  })();
  return counted;
}
