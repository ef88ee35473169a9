/**
 * Applications that open connections and leave at random moments: nothing of them stays behind.
 *
 * `POSTERN_E2E_ABORTED` says how many (10,000 by default).
 * @module
 */
import assert from "node:assert/strict";
import {
  accepting,
  eventually,
  inScene,
  isReadyToRun,
  lacks,
  openAll,
  run,
  serveTcp,
} from "./harness.ts";

/** How many connections are aborted before the transfer that must still be fast. */
const ABORTED = Number(Deno.env.get("POSTERN_E2E_ABORTED") ?? 10_000);

/** A transfer that takes longer than this stands still. */
const STALLED_MS = 60_000;

/** Opens connections, does something to each, and resets or closes it at a random moment. */
const ABORTER = `
import random, socket, struct, sys, threading
port, count, seed = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
lock, left = threading.Lock(), [count]
def work(number):
    pick = random.Random(seed * 1000 + number)
    while True:
        with lock:
            if left[0] == 0: return
            left[0] -= 1
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as s:
                if pick.random() < 0.5: s.sendall(b"x" * pick.choice([1, 1000, 30000, 200000]))
                if pick.random() < 0.5: s.recv(pick.choice([1, 1000, 100000]))
                if pick.random() < 0.7: s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError: pass
threads = [threading.Thread(target=work, args=(n,)) for n in range(40)]
for t in threads: t.start()
for t in threads: t.join()
`;

Deno.test({
  name: `${ABORTED} connections opened and aborted, then a transfer at full rate`,
  ignore: !isReadyToRun() || lacks("aborted connections", "python3"),
  fn: () =>
    inScene(async (scene) => {
      const blob = new Uint8Array(64 * 1024);
      // Talks and listens at once, as long as the other side lets it.
      const serve = async (connection: Deno.TcpConn) => {
        const swallow = (async () => {
          const room = new Uint8Array(64 * 1024);
          let first = -1;
          for (;;) {
            const got = await connection.read(room);
            if (got === null) return first;
            if (first < 0) first = room[0]!;
            // An "F" asks for the full-rate transfer.
            if (first === 70) break;
          }
          for (let sent = 0; sent < 1024; sent++) {
            for (let at = 0; at < blob.length;) at += await connection.write(blob.subarray(at));
          }
          await connection.closeWrite();
          return first;
        })();
        const talk = connection.write(blob.subarray(0, 5_000));
        await Promise.allSettled([swallow, talk]);
        connection.close();
      };
      const { web } = await openAll(scene, { web: serveTcp(scene, serve) });
      await accepting(web!);
      const transfer = async () => {
        const started = performance.now();
        using connection = await Deno.connect({ hostname: "127.0.0.1", port: web! });
        // Without credit it would stand still for ever.
        const timer = setTimeout(() => connection.close(), STALLED_MS);
        await connection.write(new TextEncoder().encode("F"));
        let received = 0;
        const room = new Uint8Array(256 * 1024);
        for (let got; (got = await connection.read(room)) !== null;) received += got;
        clearTimeout(timer);
        assert.equal(received, 5_000 + 1024 * blob.length);
        return performance.now() - started;
      };
      const before = await transfer();
      const seed = crypto.getRandomValues(new Uint16Array(1))[0]!;
      const aborted = await run("python3", ["-c", ABORTER, `${web}`, `${ABORTED}`, `${seed}`], {
        withinMs: 280_000,
      });
      assert.equal(aborted.code, 0, aborted.stderr);
      console.log(aborted.stdout);
      const after = await transfer();
      for (const state of ["agent", "connector"]) {
        await eventually(`no flow left at the ${state}`, async () => {
          const { tunnels } = await scene.status(scene.path(state));
          const flows = (tunnels as { flows: number }[]).reduce((sum, one) => sum + one.flows, 0);
          if (flows > 0) throw new Error(`${flows} flows are left`);
          return true;
        }, { withinMs: 15_000, everyMs: 500 });
      }
      console.log(
        `64 MiB: ${before.toFixed(0)} ms before, ${after.toFixed(0)} ms after (seed ${seed})`,
      );
      for (const process of scene.processes) assert.ok(!process.ended, `${process.title} lives`);
    }),
});
