/**
 * Applications and services that leave at random moments, in every way: nothing of them stays behind.
 *
 * `POSTERN_E2E_ABORTED` says how many flows (10,000 by default).
 * @module
 */
import assert from "node:assert/strict";
import { resetConn } from "../../src/mux/mod.ts";
import { median } from "../bench/benchmark.ts";
import { usageOf } from "../bench/proc.ts";
import {
  accepting,
  eventually,
  freePort,
  inScene,
  isReadyToRun,
  lacks,
  openAll,
  run,
  serveTcp,
} from "./harness.ts";

/** How many flows end badly before the transfer that must still be fast. */
const ABORTED = Number(Deno.env.get("POSTERN_E2E_ABORTED") ?? 10_000);

/** Connections that are opened before memory is looked at again. Some are reset before anybody accepts them, and are no flows. */
const PART = ABORTED / 10;

/**
 * What a process may grow by for each flow in the second half of them, in bytes: they send some 20 packets each, and each of these
 * costs 48 bytes for ever (src/README.md, "Worth knowing"). A stream, a socket or a promise more would be seen.
 */
const GROWTH_PER_FLOW = 2_048;
/** And what heaps do meanwhile, in bytes. */
const GROWTH_ANYWAY = 48 * 1024 * 1024;

const MIB = 1024 * 1024;

/** A transfer that takes longer than this stands still. */
const STALLED_MS = 60_000;

/** Milliseconds that a connection may take on a busy machine; it is less than one. */
const MS_EACH = 28;

/**
 * Opens connections, does something to each, and leaves at a random moment: with a reset, an end, or half an end first. One in twenty
 * asks for a service that nobody runs. Prints how many of them could not even be opened.
 */
const ABORTER = `
import random, socket, struct, sys, threading
web, gone, count, seed = (int(word) for word in sys.argv[1:])
lock, left, failed = threading.Lock(), [count], [0]
def use(s, pick):
    if pick.random() < 0.5: s.sendall(b"x" * pick.choice([1, 1000, 30000, 200000]))
    if pick.random() < 0.3: s.shutdown(socket.SHUT_WR)
    if pick.random() < 0.5: s.recv(pick.choice([1, 1000, 100000]))
    if pick.random() < 0.7: s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
def work(number):
    pick = random.Random(seed * 1000 + number)
    while True:
        with lock:
            if left[0] == 0: return
            left[0] -= 1
        try: s = socket.create_connection(("127.0.0.1", gone if pick.random() < 0.05 else web), timeout=20)
        # It was opened, and the other side was gone before this thread had its turn.
        except ConnectionResetError: continue
        except OSError:
            with lock: failed[0] += 1
            continue
        with s:
            try: use(s, pick)
            except OSError: pass
threads = [threading.Thread(target=work, args=(n,)) for n in range(40)]
for t in threads: t.start()
for t in threads: t.join()
print(failed[0])
`;

const BLOB = new Uint8Array(64 * 1024);

/** What a service does to a connection that it does not serve. */
const UNKIND = ["reset", "close", "half"] as const;

/** Talks and listens at once, as long as the other side lets it; or leaves first, in one way or another. */
async function serve(connection: Deno.TcpConn): Promise<void> {
  const room = new Uint8Array(64 * 1024);
  const talk = connection.write(BLOB.subarray(0, 5_000));
  const listen = (async () => {
    const unkind = Math.random() < 0.4 ? UNKIND[Math.floor(Math.random() * 3)] : undefined;
    for (let first = true;; first = false) {
      const got = await connection.read(room);
      if (got === null) return;
      // An "F" asks for the full-rate transfer.
      if (first && room[0] === 70) break;
      if (unkind === "reset") return resetConn(connection);
      if (unkind === "close") return connection.close();
      if (unkind === "half" && first) await connection.closeWrite();
    }
    await talk;
    for (let sent = 0; sent < 64 * MIB; sent += BLOB.length) {
      for (let at = 0; at < BLOB.length;) at += await connection.write(BLOB.subarray(at));
    }
    await connection.closeWrite();
  })();
  await Promise.allSettled([listen, talk]);
  try {
    connection.close();
  } catch {
    // It has left.
  }
}

/** Milliseconds that 64 MiB take. */
async function transfer(port: number): Promise<number> {
  const started = performance.now();
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  // Without credit it would stand still for ever.
  const timer = setTimeout(() => connection.close(), STALLED_MS);
  await connection.write(new TextEncoder().encode("F"));
  let received = 0;
  const room = new Uint8Array(256 * 1024);
  for (let got; (got = await connection.read(room)) !== null;) received += got;
  clearTimeout(timer);
  assert.equal(received, 5_000 + 64 * MIB);
  return performance.now() - started;
}

async function inTurn<T>(times: number, what: () => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  for (let i = 0; i < times; i++) results.push(await what());
  return results;
}

Deno.test({
  name: `${ABORTED} connections opened and aborted, then a transfer at full rate`,
  ignore: !isReadyToRun() || lacks("aborted connections", "python3"),
  fn: () =>
    inScene(async (scene) => {
      let served = 0;
      const target = serveTcp(scene, (connection) => {
        served++;
        return serve(connection);
      });
      const { web, gone } = await openAll(scene, { web: target, gone: freePort() });
      await accepting(web!);
      const rate = async () => median(await inTurn(5, () => transfer(web!)))!;
      const idle = (state: string) =>
        eventually(`no flow left at the ${state}`, async () => {
          const { tunnels } = await scene.status(scene.path(state));
          assert.equal((tunnels as unknown[]).length, 1);
          const flows = (tunnels as { flows: number }[]).reduce((sum, one) => sum + one.flows, 0);
          if (flows > 0) throw new Error(`${flows} flows are left`);
          return true;
        }, { withinMs: 15_000, everyMs: 200 });
      const before = await rate();
      const seed = crypto.getRandomValues(new Uint16Array(1))[0]!;
      const memory: { flows: number; of: Record<string, number> }[] = [];
      for (let part = 0; served < ABORTED; part++) {
        const numbers = [web!, gone!, PART, seed + part].map(String);
        const { code, stdout, stderr } = await run("python3", ["-c", ABORTER, ...numbers], {
          withinMs: 60_000 + PART * MS_EACH,
        });
        assert.equal(code, 0, stderr);
        assert.equal(Number(stdout), 0, `${stdout} connections could not be opened`);
        for (const state of ["agent", "connector"]) await idle(state);
        const of = Object.fromEntries(
          scene.processes.map(({ title, pid }) => [title, usageOf(pid).residentBytes]),
        );
        memory.push({ flows: served, of });
        const words = Object.entries(of).map(([title, bytes]) =>
          `${title} ${(bytes / MIB).toFixed(0)} MiB`
        );
        console.log(`${served} flows: ${words.join(", ")}`);
      }
      const after = await rate();
      console.log(
        `64 MiB: ${before.toFixed(0)} ms before, ${after.toFixed(0)} ms after (seed ${seed})`,
      );
      assert.ok(after < 2 * before + 500, `${after} ms for 64 MiB, ${before} ms before`);
      const [half, end] = [memory[Math.floor(memory.length / 2)]!, memory.at(-1)!];
      const most = GROWTH_ANYWAY + (end.flows - half.flows) * GROWTH_PER_FLOW;
      for (const [title, bytes] of Object.entries(end.of)) {
        const grown = bytes - half.of[title]!;
        assert.ok(grown < most, `${title} grew by ${grown} bytes in the second half`);
      }
      for (const process of scene.processes) assert.ok(!process.ended, `${process.title} lives`);
    }),
});
