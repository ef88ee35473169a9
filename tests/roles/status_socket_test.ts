import assert from "node:assert/strict";
import { join } from "node:path";
import { UserError } from "../../src/core/mod.ts";
import type { Name } from "../../src/identity/name.ts";
import { type Ask, parseAsk } from "../../src/roles/asks.ts";
import { dialStatus, pointerPathIn, socketPathIn } from "../../src/roles/status_endpoint.ts";
import { askForPipe, askStatus, NotRunning } from "../../src/roles/status_client.ts";
import {
  type Answer,
  MAX_REQUEST_BYTES,
  MAX_STATUS_CLIENTS,
  RawAnswer,
  serveStatus,
} from "../../src/roles/status_socket.ts";

const PING: Ask = {
  ask: "ping",
  service: "web" as Name,
  count: 0,
  intervalMs: 1000,
  timeoutMs: 1000,
};

/** Serves in a temporary state folder while `work` runs. */
async function serving(
  answer: (ask: Ask, signal: AbortSignal) => Answer,
  work: (state: string) => Promise<void>,
  options: { idleMs?: number; depth?: number } = {},
) {
  const top = Deno.makeTempDirSync();
  const state = join(top, "x".repeat(options.depth ?? 1));
  Deno.mkdirSync(state);
  const stop = new AbortController();
  const { depth: _, ...rest } = options;
  const server = await serveStatus({ state, answer, signal: stop.signal, ...rest });
  try {
    await work(state);
  } finally {
    stop.abort();
    await server.finished;
    Deno.removeSync(top, { recursive: true });
  }
}

async function all(state: string, ask: Ask): Promise<unknown[]> {
  const answers = [];
  for await (const answer of askStatus(state, ask)) answers.push(answer);
  return answers;
}

/** Sends raw text, reads until the end. */
async function raw(state: string, text: string | Uint8Array): Promise<string> {
  const conn = await dialStatus({ kind: "unix", path: socketPathIn(state) });
  const writer = conn.writable.getWriter();
  await writer.write(typeof text === "string" ? new TextEncoder().encode(text) : text)
    .catch(() => {});
  let got = "";
  try {
    for await (const chunk of conn.readable.pipeThrough(new TextDecoderStream())) got += chunk;
  } catch { /* reset is an end too */ }
  return got;
}

Deno.test("serveStatus() answers one value, a stream, and a refusal", async () => {
  await serving(async function (ask) {
    await Promise.resolve();
    if (ask.ask === "netcheck") throw new UserError("Cannot look", { next: "look later" });
    if (ask.ask === "status") return { role: "agent" };
    return (async function* () {
      yield 1;
      await new Promise((go) => setTimeout(go, 5));
      yield "ü\n";
    })();
  }, async (state) => {
    assert.deepEqual(await all(state, { ask: "status" }), [{ role: "agent" }]);
    assert.deepEqual(await all(state, PING), [1, "ü\n"]);
    await assert.rejects(
      all(state, { ask: "netcheck" }),
      (error: UserError) => error.message === "Cannot look" && error.next === "look later",
    );
  });
});

Deno.test("serveStatus() makes a socket for its owner alone and removes it", async () => {
  let path = "";
  await serving(() => 1, (state) => {
    path = socketPathIn(state);
    assert.equal(Deno.statSync(path).mode! & 0o777, 0o600);
    return Promise.resolve();
  });
  assert.throws(() => Deno.lstatSync(path), Deno.errors.NotFound);
});

Deno.test("serveStatus() moves to a short path when the folder's is too long", async () => {
  await serving(() => "here", async (state) => {
    const pointer = JSON.parse(Deno.readTextFileSync(pointerPathIn(state)));
    assert.ok(pointer.unix.length < 100);
    assert.equal(Deno.statSync(pointerPathIn(state)).mode! & 0o777, 0o600);
    assert.deepEqual(await all(state, { ask: "status" }), ["here"]);
  }, { depth: 150 });
});

Deno.test("serveStatus() takes over what a killed process left, never a live one's", async () => {
  await serving(() => 1, async (state) => {
    await assert.rejects(
      serveStatus({ state, answer: () => 2, signal: new AbortController().signal }),
      /another process serves it/,
    );
    assert.deepEqual(await all(state, { ask: "status" }), [1]);
  });
  const state = Deno.makeTempDirSync();
  const left = Deno.listen({ transport: "unix", path: socketPathIn(state) });
  left.close();
  if (!(await Deno.lstat(socketPathIn(state)).catch(() => undefined))) {
    Deno.writeTextFileSync(socketPathIn(state), "");
  }
  const stop = new AbortController();
  const server = await serveStatus({ state, answer: () => 3, signal: stop.signal });
  assert.deepEqual(await all(state, { ask: "status" }), [3]);
  stop.abort();
  await server.finished;
  Deno.removeSync(state, { recursive: true });
});

Deno.test("askStatus() says when nobody runs there", async () => {
  const state = Deno.makeTempDirSync();
  await assert.rejects(all(state, { ask: "status" }), NotRunning);
  Deno.writeTextFileSync(pointerPathIn(state), "{broken");
  await assert.rejects(all(state, { ask: "status" }), NotRunning);
  await assert.rejects(all(join(state, "missing"), { ask: "status" }), NotRunning);
  Deno.removeSync(state, { recursive: true });
});

Deno.test("serveStatus() refuses what is no request", async () => {
  await serving(() => assert.fail("must not be asked"), async (state) => {
    for (const text of ["nonsense\n", "{}\n", "[]\n", "null\n", '{"ask":"ping"}\n', "\xff\n"]) {
      assert.match(await raw(state, text), /"error":\{"message":"/, text);
    }
    assert.match(await raw(state, new Uint8Array([0xff, 10])), /not UTF-8/);
    const long = new Uint8Array(MAX_REQUEST_BYTES + 2).fill(32);
    assert.match(await raw(state, long), /more than 65536 bytes|^$/);
  });
});

Deno.test("serveStatus() lets go of an asker that says nothing", async () => {
  await serving(() => 1, async (state) => {
    assert.match(await raw(state, '{"ask":'), /idle for too long/);
  }, { idleMs: 30 });
});

Deno.test("serveStatus() answers no more askers at once than it states", async () => {
  const open: Deno.Conn[] = [];
  await serving(() => 1, async (state) => {
    for (let i = 0; i < MAX_STATUS_CLIENTS; i++) {
      open.push(await dialStatus({ kind: "unix", path: socketPathIn(state) }));
    }
    await assert.rejects(all(state, { ask: "status" }), /16 others ask already|stopped meanwhile/);
    for (const conn of open) conn.close();
    for (let tries = 0;; tries++) {
      try {
        assert.deepEqual(await all(state, { ask: "status" }), [1]);
        break;
      } catch (error) {
        if (tries > 100) throw error;
        await new Promise((go) => setTimeout(go, 10));
      }
    }
  });
});

Deno.test("serveStatus() tells the answer when the asker has gone", async () => {
  const gone = Promise.withResolvers<void>();
  await serving((_ask, signal) => {
    signal.addEventListener("abort", () => gone.resolve());
    return (async function* () {
      yield 1;
      await gone.promise;
    })();
  }, async (state) => {
    for await (const answer of askStatus(state, PING)) {
      assert.equal(answer, 1);
      break;
    }
    await gone.promise;
  });
});

Deno.test("askForPipe() joins two ends byte for byte, each way", async () => {
  await serving(() =>
    new RawAnswer({ connected: "web" }, async (pipe) => {
      const buffer = new Uint8Array(7);
      for (let count = await pipe.read(buffer); count !== null; count = await pipe.read(buffer)) {
        await pipe.write(buffer.slice(0, count));
      }
      await pipe.closeWrite();
    }), async (state) => {
    const pipe = await askForPipe(state, { ask: "connect", service: "web" as Name });
    const sent = crypto.getRandomValues(new Uint8Array(50_000));
    const writing = pipe.write(sent).then(() => pipe.closeWrite());
    const got: number[] = [];
    const buffer = new Uint8Array(4096);
    for (let count = await pipe.read(buffer); count !== null; count = await pipe.read(buffer)) {
      got.push(...buffer.subarray(0, count));
    }
    await writing;
    pipe.close();
    assert.deepEqual(Uint8Array.from(got), sent);
  });
});

Deno.test("parseAsk() knows requests and nothing else", () => {
  const forget = { ask: "forget", kind: "agent", name: "alice" };
  assert.deepEqual(parseAsk({ ...forget, more: 1 }), forget);
  assert.equal(parseAsk({ ...forget, kind: "relay" }), undefined);
  assert.equal(parseAsk({ ...forget, name: "../x" }), undefined);
  assert.deepEqual(parseAsk({ ask: "status", extra: 1 }), { ask: "status" });
  assert.deepEqual(parseAsk(PING), PING);
  for (
    const wrong of [
      undefined,
      null,
      1,
      "status",
      {},
      { ask: "stop" },
      { ...PING, service: "../etc" },
      { ...PING, count: -1 },
      { ...PING, count: 1.5 },
      { ...PING, intervalMs: 0 },
      { ask: "connect" },
    ]
  ) {
    assert.equal(parseAsk(wrong), undefined, JSON.stringify(wrong));
  }
});

Deno.test("serveStatus() lets a connection that carries a flow outlive it", async () => {
  const state = Deno.makeTempDirSync();
  const stop = new AbortController();
  const over = Promise.withResolvers<void>();
  const server = await serveStatus({
    state,
    signal: stop.signal,
    answer: () =>
      new RawAnswer({ connected: "ssh" }, async (pipe) => {
        const buffer = new Uint8Array(64);
        for (let n = await pipe.read(buffer); n !== null; n = await pipe.read(buffer)) {
          await pipe.write(buffer.subarray(0, n));
        }
        over.resolve();
      }),
  });
  const pipe = await askForPipe(state, { ask: "connect", service: "ssh" as Name });
  stop.abort();
  await server.finished;
  await pipe.write(new TextEncoder().encode("still here"));
  const buffer = new Uint8Array(64);
  const count = await pipe.read(buffer);
  assert.equal(new TextDecoder().decode(buffer.subarray(0, count!)), "still here");
  pipe.close();
  await over.promise;
  Deno.removeSync(state, { recursive: true });
});

Deno.test("serveStatus() has room for askers beside many connections that carry flows", async () => {
  const stop = Promise.withResolvers<void>();
  await serving(
    (ask) => ask.ask === "connect" ? new RawAnswer({}, () => stop.promise) : { fine: true },
    async (state) => {
      const pipes = [];
      for (let i = 0; i < MAX_STATUS_CLIENTS + 4; i++) {
        pipes.push(await askForPipe(state, { ask: "connect", service: "ssh" as Name }));
      }
      assert.deepEqual(await all(state, { ask: "status" }), [{ fine: true }]);
      stop.resolve();
      for (const pipe of pipes) pipe.close();
    },
  );
});

Deno.test("serveStatus() drops an answer whose asker has gone", async () => {
  const asked = Promise.withResolvers<void>();
  const gone = Promise.withResolvers<void>();
  const dropped = Promise.withResolvers<void>();
  await serving(async () => {
    asked.resolve();
    await gone.promise;
    const run = () => Promise.reject(new Error("nobody is there"));
    return new RawAnswer("x".repeat(4 << 20), run, () => dropped.resolve());
  }, async (state) => {
    const conn = await dialStatus({ kind: "unix", path: socketPathIn(state) });
    await conn.write(new TextEncoder().encode('{"ask":"connect","service":"ssh"}\n'));
    await asked.promise;
    conn.close();
    gone.resolve();
    await dropped.promise;
  });
});
