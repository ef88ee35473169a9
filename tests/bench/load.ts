/**
 * The load that a TCP benchmark puts on a way through: a server at the far end, a client at the near end, each a process
 * of its own.
 *
 * ```
 * deno run -A load.ts serve HOST:PORT
 * deno run -A load.ts up|down HOST:PORT WARM-UP-MS MEASURE-MS
 * deno run -A load.ts echo|connect HOST:PORT COUNT [MAX-MS]
 * deno run -A load.ts beside-up|beside-down HOST:PORT WARM-UP-MS MEASURE-MS
 * ```
 *
 * A connection's first byte says what it is for: `U` the server counts what it receives, `D` the server sends for as long
 * as it can, `E` it sends everything back. Each client prints one line of JSON.
 * @module
 */
import { Buffer } from "node:buffer";

/** One block of a bulk transfer: large enough that the load itself costs little. */
const BLOCK_BYTES = 256 * 1024;

/** What an echo carries: one small question of an interactive program. */
const ECHO_BYTES = 100;

const KIND = { up: 0x55, down: 0x44, echo: 0x45 } as const;

/** What `up` and `down` print: the receiving end's own measure. */
export interface BulkResult {
  readonly megabits: number;
  readonly bytes: number;
  readonly seconds: number;
}

/** What `echo` and `connect` print: milliseconds of each round. */
export interface RoundsResult {
  readonly milliseconds: readonly number[];
}

/** What `beside-up` and `beside-down` print: bulk flows, and an echo beside them. */
export interface BesideResult {
  readonly megabits: readonly number[];
  readonly milliseconds: readonly number[];
}

/** Bulk flows at once, and the pause between echoes beside them, in milliseconds. */
const BESIDE = { flows: 4, pauseMs: 5 } as const;

/** Counts what arrives in `measureMs`, beginning `warmUpMs` after the first byte. */
async function measureReceiving(
  conn: Deno.TcpConn,
  warmUpMs: number,
  measureMs: number,
): Promise<BulkResult> {
  const buffer = new Uint8Array(BLOCK_BYTES);
  let bytes = 0;
  let start = Infinity;
  const begun = performance.now();
  for (;;) {
    const length = await conn.read(buffer);
    const now = performance.now();
    if (start === Infinity) {
      if (now - begun >= warmUpMs) start = now;
    } else bytes += length ?? 0;
    if (length === null || now - start >= measureMs) {
      const seconds = (now - start) / 1000;
      return { megabits: bytes * 8 / seconds / 1e6, bytes, seconds };
    }
  }
}

async function readExactly(conn: Deno.TcpConn, into: Uint8Array): Promise<void> {
  for (let offset = 0; offset < into.length;) {
    const length = await conn.read(into.subarray(offset));
    if (length === null) throw new Error("Cannot read an echo as the connection ended");
    offset += length;
  }
}

async function writeAll(conn: Deno.TcpConn, data: Uint8Array): Promise<void> {
  for (let offset = 0; offset < data.length;) offset += await conn.write(data.subarray(offset));
}

/** Writes until the other end has had enough. */
async function writeForEver(conn: Deno.TcpConn): Promise<void> {
  const block = new Uint8Array(BLOCK_BYTES);
  try {
    for (;;) await writeAll(conn, block);
  } catch {
    // The reader has measured and gone.
  }
}

async function serveOne(conn: Deno.TcpConn): Promise<void> {
  conn.setNoDelay(true);
  try {
    const head = new Uint8Array(1);
    await readExactly(conn, head);
    if (head[0] === KIND.echo) {
      const buffer = new Uint8Array(16_384);
      for (let n = await conn.read(buffer); n !== null; n = await conn.read(buffer)) {
        await writeAll(conn, buffer.subarray(0, n));
      }
    } else if (head[0] === KIND.down) await writeForEver(conn);
    else if (head[0] === KIND.up) {
      const times = new Uint8Array(8);
      await readExactly(conn, times);
      const view = new DataView(times.buffer);
      const result = await measureReceiving(conn, view.getUint32(0), view.getUint32(4));
      await writeAll(conn, Buffer.from(JSON.stringify(result)));
      // Closing with bytes unread would be a reset, which may overtake the answer.
      const rest = new Uint8Array(BLOCK_BYTES);
      while (await conn.read(rest) !== null);
    }
  } catch {
    // A client that went away is no news.
  } finally {
    conn.close();
  }
}

async function serve(hostname: string, port: number): Promise<void> {
  const listener = Deno.listen({ hostname, port });
  console.log(`ready at ${hostname}:${(listener.addr as Deno.NetAddr).port}`);
  for await (const conn of listener) void serveOne(conn);
}

async function open(at: Deno.ConnectOptions, kind: number): Promise<Deno.TcpConn> {
  const conn = await Deno.connect(at);
  conn.setNoDelay(true);
  await writeAll(conn, Uint8Array.of(kind));
  return conn;
}

async function up(at: Deno.ConnectOptions, warmUpMs: number, ms: number): Promise<BulkResult> {
  const conn = await open(at, KIND.up);
  const times = new DataView(new ArrayBuffer(8));
  times.setUint32(0, warmUpMs);
  times.setUint32(4, ms);
  await writeAll(conn, new Uint8Array(times.buffer));
  const writing = writeForEver(conn);
  const answer = new Uint8Array(1024);
  const length = await conn.read(answer);
  if (length === null) throw new Error("Cannot measure as the server ended the connection");
  conn.close();
  await writing;
  return JSON.parse(Buffer.from(answer.subarray(0, length)).toString());
}

async function down(at: Deno.ConnectOptions, warmUpMs: number, ms: number): Promise<BulkResult> {
  const conn = await open(at, KIND.down);
  const result = await measureReceiving(conn, warmUpMs, ms);
  conn.close();
  return result;
}

async function echoOnce(conn: Deno.TcpConn, payload: Uint8Array): Promise<number> {
  const begun = performance.now();
  await writeAll(conn, payload);
  await readExactly(conn, payload);
  return performance.now() - begun;
}

async function echo(
  at: Deno.ConnectOptions,
  count: number,
  maxMs = Infinity,
): Promise<RoundsResult> {
  const conn = await open(at, KIND.echo);
  const payload = new Uint8Array(ECHO_BYTES);
  for (let i = 0; i < Math.min(50, count); i++) await echoOnce(conn, payload);
  const milliseconds: number[] = [];
  const end = performance.now() + maxMs;
  while (milliseconds.length < count && performance.now() < end) {
    milliseconds.push(await echoOnce(conn, payload));
  }
  conn.close();
  return { milliseconds };
}

/** Bulk flows in one direction, and an echo beside them as long as they are measured. */
async function beside(
  at: Deno.ConnectOptions,
  bulk: typeof up | typeof down,
  times: readonly [warmUpMs: number, ms: number],
): Promise<BesideResult> {
  const flows = Array.from({ length: BESIDE.flows }, () => bulk(at, ...times));
  await new Promise((resolve) => setTimeout(resolve, times[0]));
  const conn = await open(at, KIND.echo);
  const payload = new Uint8Array(ECHO_BYTES);
  await echoOnce(conn, payload);
  const milliseconds: number[] = [];
  for (const end = performance.now() + times[1]; performance.now() < end;) {
    milliseconds.push(await echoOnce(conn, payload));
    await new Promise((resolve) => setTimeout(resolve, BESIDE.pauseMs));
  }
  conn.close();
  const results = await Promise.all(flows);
  return { megabits: results.map(({ megabits }) => megabits), milliseconds };
}

/** Each round: a new connection, one echo, its end. */
async function connect(at: Deno.ConnectOptions, count: number): Promise<RoundsResult> {
  const milliseconds: number[] = [];
  const payload = new Uint8Array(1 + ECHO_BYTES);
  payload[0] = KIND.echo;
  for (let i = -Math.min(20, count); i < count; i++) {
    const begun = performance.now();
    const conn = await Deno.connect(at);
    conn.setNoDelay(true);
    await writeAll(conn, payload);
    await readExactly(conn, new Uint8Array(ECHO_BYTES));
    if (i >= 0) milliseconds.push(performance.now() - begun);
    conn.close();
  }
  return { milliseconds };
}

async function main([what, where, ...numbers]: string[]): Promise<void> {
  const at = where ?? "";
  const hostname = at.slice(0, at.lastIndexOf(":"));
  const port = Number(at.slice(hostname.length + 1));
  const [first = 0, second = 0] = numbers.map(Number);
  if (what === "serve") return await serve(hostname, port);
  const to = { hostname, port };
  const result = what === "up"
    ? await up(to, first, second)
    : what === "down"
    ? await down(to, first, second)
    : what === "beside-up"
    ? await beside(to, up, [first, second])
    : what === "beside-down"
    ? await beside(to, down, [first, second])
    : what === "echo"
    ? await echo(to, first, second || Infinity)
    : await connect(to, first);
  console.log(JSON.stringify(result));
}

if (import.meta.main) await main(Deno.args);
