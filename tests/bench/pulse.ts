/**
 * Traffic that shows when a path changed, and how long nothing came through: a server at the far end, a client at the near
 * end, each a process of its own on one machine, so that both read one clock.
 *
 * ```
 * deno run -A pulse.ts serve PORT                       says `ready`
 * deno run -A pulse.ts pulses PORT LINES GAP-MS MS      LINES connections, each sending its time every LINES x GAP-MS
 * deno run -A pulse.ts bulk PORT MS                     one download as fast as it goes
 * ```
 *
 * A connection's first byte says what it is for: `P` the server answers each time (8 bytes, milliseconds since 1970) with
 * that time and its own (16 bytes), `D` it sends for as long as it can. Each client prints one line of JSON.
 *
 * Pulses travel on several connections in turns, as on a single one each would wait for those before it: a packet sent along
 * a shorter path could not be seen to arrive before the last one of the longer path.
 * @module
 */

/** One pulse: when it was sent, when it arrived, and when the answer was here; milliseconds since 1970. */
export type Pulse = readonly [sent: number, arrived: number, back: number];

/** What `pulses` prints. */
export interface PulseReport {
  /** When the first connection was asked for, in milliseconds since 1970. */
  readonly asked: number;
  readonly pulses: readonly Pulse[];
}

/** What `bulk` prints. */
export interface BulkReport {
  readonly bytes: number;
  /** Times without a byte that lasted {@linkcode GAP_NOTED_MS} or more: until when, and how long. */
  readonly gaps: readonly { readonly until: number; readonly ms: number }[];
}

/** Shorter gaps in a download are its ordinary rhythm. */
const GAP_NOTED_MS = 20;

const KIND = { pulses: 0x50, bulk: 0x44 } as const;

/** Milliseconds since 1970, by the one clock that all processes read: what counts from each one's own start drifts apart. */
function now(): number {
  return Date.now();
}

async function writeAll(conn: Deno.TcpConn, data: Uint8Array): Promise<void> {
  for (let offset = 0; offset < data.length;) offset += await conn.write(data.subarray(offset));
}

/** Calls `take` with each record of `size` bytes, until the other end has finished. */
async function readRecords(
  conn: Deno.TcpConn,
  size: number,
  take: (record: DataView) => void | Promise<void>,
): Promise<void> {
  const buffer = new Uint8Array(16_384);
  let filled = 0;
  for (;;) {
    const length = await conn.read(buffer.subarray(filled));
    if (length === null) return;
    filled += length;
    let at = 0;
    for (; filled - at >= size; at += size) await take(new DataView(buffer.buffer, at, size));
    buffer.copyWithin(0, at, filled);
    filled -= at;
  }
}

async function serveOne(conn: Deno.TcpConn): Promise<void> {
  conn.setNoDelay(true);
  try {
    const kind = new Uint8Array(1);
    await conn.read(kind);
    if (kind[0] === KIND.bulk) {
      const block = new Uint8Array(65_536);
      for (;;) await writeAll(conn, block);
    }
    await readRecords(conn, 8, async (record) => {
      const answer = new DataView(new ArrayBuffer(16));
      answer.setFloat64(0, record.getFloat64(0));
      answer.setFloat64(8, now());
      await writeAll(conn, new Uint8Array(answer.buffer));
    });
  } catch {
    // A client that went away is no news.
  } finally {
    conn.close();
  }
}

async function serve(port: number): Promise<void> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port });
  console.log("ready");
  for await (const conn of listener) void serveOne(conn);
}

async function open(port: number, kind: number): Promise<Deno.TcpConn> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  conn.setNoDelay(true);
  await writeAll(conn, Uint8Array.of(kind));
  return conn;
}

async function pulses(port: number, lines: number, gapMs: number, ms: number) {
  const asked = now();
  const report: { asked: number; pulses: Pulse[] } = { asked, pulses: [] };
  const conns = await Promise.all(Array.from({ length: lines }, () => open(port, KIND.pulses)));
  for (const conn of conns) {
    const take = (record: DataView) => {
      report.pulses.push([record.getFloat64(0), record.getFloat64(8), now()]);
    };
    readRecords(conn, 16, take).catch(() => {});
  }
  let sent = 0;
  await new Promise<void>((resolve) => {
    // A timer that fires late makes up for it at once, so that no pulse is missing.
    const timer = setInterval(() => {
      for (; asked + sent * gapMs <= now(); sent++) {
        const record = new DataView(new ArrayBuffer(8));
        record.setFloat64(0, now());
        writeAll(conns[sent % lines]!, new Uint8Array(record.buffer)).catch(() => {});
      }
      if (now() - asked < ms) return;
      clearInterval(timer);
      resolve();
    }, gapMs);
  });
  for (const conn of conns) conn.close();
  return report;
}

async function bulk(port: number, ms: number): Promise<BulkReport> {
  const conn = await open(port, KIND.bulk);
  const buffer = new Uint8Array(262_144);
  const gaps: { until: number; ms: number }[] = [];
  const end = now() + ms;
  let [bytes, last] = [0, now()];
  const timer = setTimeout(() => conn.close(), ms);
  try {
    while (last < end) {
      const length = await conn.read(buffer);
      if (length === null) break;
      const at = now();
      if (at - last >= GAP_NOTED_MS) gaps.push({ until: at, ms: at - last });
      [bytes, last] = [bytes + length, at];
    }
    clearTimeout(timer);
    conn.close();
  } catch {
    // Closed by the timer, in a gap.
    gaps.push({ until: now(), ms: now() - last });
  }
  return { bytes, gaps };
}

async function main([what, ...words]: string[]): Promise<void> {
  const [port = 0, a = 0, b = 0, c = 0] = words.map(Number);
  if (what === "serve") return await serve(port);
  const report = what === "pulses" ? await pulses(port, a, b, c) : await bulk(port, a);
  console.log(JSON.stringify(report));
  // What still travels is of no interest any more.
  Deno.exit(0);
}

if (import.meta.main) await main(Deno.args);
