/**
 * A TCP service and its client that send each other the same number of bytes at once, and each tells what it got.
 *
 * ```
 * deno run -A both_ways.ts serve PORT          says `ready`
 * deno run -A both_ways.ts talk PORT BYTES     one connection; prints a line of JSON
 * ```
 *
 * The client says first how many (8 bytes). Behind its own bytes the service says the SHA-256 of what it got.
 * @module
 */
import { createHash } from "node:crypto";

/** What `talk` prints. SHA-256 in hex. */
export interface TalkReport {
  readonly ms: number;
  readonly sent: string;
  /** What the service says that it got. */
  readonly arrived: string;
  readonly got: string;
  readonly gotBytes: number;
}

const BLOCK = 65_536;
/** Each direction has bytes of its own. */
const SEEDS = { up: 1, down: 2 } as const;

/** The bytes of one direction, in blocks that are all different: none can take another's place. */
export function* blocks(way: keyof typeof SEEDS, bytes: number): Iterable<Uint8Array<ArrayBuffer>> {
  let state = SEEDS[way];
  for (let at = 0; at < bytes; at += BLOCK) {
    const words = new Uint32Array(BLOCK / 4);
    for (let i = 0; i < words.length; i++) {
      // Numerical Recipes' congruential generator: quick, and no block is like another.
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      words[i] = state;
    }
    words[0] = at / BLOCK;
    yield new Uint8Array(words.buffer).subarray(0, Math.min(BLOCK, bytes - at));
  }
}

/** SHA-256 of one direction's bytes, in hex. */
export function hashOf(way: keyof typeof SEEDS, bytes: number): string {
  const hash = createHash("sha256");
  for (const block of blocks(way, bytes)) hash.update(block);
  return hash.digest("hex");
}

async function writeAll(conn: Deno.TcpConn, data: Uint8Array): Promise<void> {
  for (let at = 0; at < data.length;) at += await conn.write(data.subarray(at));
}

async function sendAll(conn: Deno.TcpConn, way: keyof typeof SEEDS, bytes: number): Promise<void> {
  for (const block of blocks(way, bytes)) await writeAll(conn, block);
}

/** Reads `bytes`, or until the other end has finished. */
async function take(conn: Deno.TcpConn, bytes: number, each: (data: Uint8Array) => void) {
  const buffer = new Uint8Array(BLOCK);
  let got = 0;
  while (got < bytes) {
    const length = await conn.read(buffer.subarray(0, Math.min(BLOCK, bytes - got)));
    if (length === null) break;
    each(buffer.subarray(0, length));
    got += length;
  }
  return got;
}

async function hashOfRead(conn: Deno.TcpConn, bytes: number): Promise<[Uint8Array, number]> {
  const hash = createHash("sha256");
  const got = await take(conn, bytes, (data) => hash.update(data));
  return [hash.digest(), got];
}

async function serveOne(conn: Deno.TcpConn): Promise<void> {
  try {
    const head = new Uint8Array(8);
    let at = 0;
    await take(conn, 8, (data) => {
      head.set(data, at);
      at += data.length;
    });
    const bytes = Number(new DataView(head.buffer).getBigUint64(0));
    const [[hash]] = await Promise.all([hashOfRead(conn, bytes), sendAll(conn, "down", bytes)]);
    await writeAll(conn, hash);
    await conn.closeWrite();
  } catch {
    // The client will say what it misses.
  } finally {
    conn.close();
  }
}

async function talk(port: number, bytes: number): Promise<TalkReport> {
  const begun = performance.now();
  using conn = await Deno.connect({ hostname: "127.0.0.1", port });
  const head = new DataView(new ArrayBuffer(8));
  head.setBigUint64(0, BigInt(bytes));
  await writeAll(conn, new Uint8Array(head.buffer));
  const [[hash, gotBytes]] = await Promise.all([
    hashOfRead(conn, bytes),
    sendAll(conn, "up", bytes),
  ]);
  let arrived = "";
  // One byte more than there must be: nothing may follow.
  const rest = await take(conn, 33, (data) => arrived += data.toHex());
  const ms = Math.round(performance.now() - begun);
  const sent = hashOf("up", bytes);
  return { ms, sent, arrived, got: hash.toHex(), gotBytes: gotBytes + Math.max(0, rest - 32) };
}

async function main([what, port = "0", bytes = "0"]: string[]): Promise<void> {
  if (what === "talk") {
    console.log(JSON.stringify(await talk(Number(port), Number(bytes))));
    return;
  }
  const listener = Deno.listen({ hostname: "127.0.0.1", port: Number(port) });
  console.log("ready");
  for await (const conn of listener) void serveOne(conn);
}

if (import.meta.main) await main(Deno.args);
