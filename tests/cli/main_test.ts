/** `main.ts` as a real process. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { VERSION } from "../../src/core/version.ts";
import { RawAnswer, serveStatus } from "../../src/roles/status_socket.ts";

const MAIN = join(import.meta.dirname!, "../../main.ts");

function command(argv: string[], options: Partial<Deno.CommandOptions> = {}) {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--quiet", MAIN, ...argv],
    stdout: "piped",
    stderr: "piped",
    stdin: "null",
    ...options,
  });
}

async function postern(argv: string[], options: Partial<Deno.CommandOptions> = {}) {
  const { code, stdout, stderr } = await command(argv, options).output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

Deno.test("main() does give stdout, stderr and exit code to the shell", async () => {
  assert.deepEqual(await postern(["--version"]), { code: 0, out: `postern ${VERSION}\n`, err: "" });
  const wrong = await postern(["rely"]);
  assert.deepEqual([wrong.code, wrong.out], [2, ""]);
  assert.match(wrong.err, /Did you mean relay\?/);
  const state = Deno.makeTempDirSync();
  const none = await postern(["status", "--state", state]);
  assert.deepEqual([none.code, none.out], [1, ""]);
  Deno.removeSync(state);
});

Deno.test("main() does bear that nobody reads its output", async () => {
  const process = command(["help", "agent"]).spawn();
  await process.stdout.cancel();
  const { code } = await process.output().catch(async () => await process.status);
  assert.equal(code, 0);
});

Deno.test("main() does load next to nothing for --version", async () => {
  const { code, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", MAIN],
  }).output();
  assert.equal(code, 0);
  const { modules, roots } = JSON.parse(new TextDecoder().decode(stdout));
  const bySpecifier = new Map<
    string,
    { dependencies?: { code?: { specifier: string }; isDynamic?: boolean }[] }
  >();
  for (const module of modules) bySpecifier.set(module.specifier, module);
  const loaded = new Set<string>();
  const visit = (specifier: string) => {
    if (loaded.has(specifier)) return;
    loaded.add(specifier);
    for (const { code, isDynamic } of bySpecifier.get(specifier)?.dependencies ?? []) {
      if (code && !isDynamic) visit(code.specifier);
    }
  };
  visit(roots[0]);
  assert.ok(loaded.size <= 8, [...loaded].join("\n"));
});

const unix = { ignore: Deno.build.os === "windows" };
if (unix.ignore) console.log("signal tests skip: Windows has no SIGINT between processes");

Deno.test("status --watch does end in good order when asked to", unix, async () => {
  const state = Deno.makeTempDirSync();
  const stop = new AbortController();
  const server = await serveStatus({ state, answer: () => ({ role: "x" }), signal: stop.signal });
  const process = command(["status", "--watch", "--json", "--state", state]).spawn();
  const reader = process.stdout.pipeThrough(new TextDecoderStream()).getReader();
  assert.equal((await reader.read()).value, '{"role":"x"}\n');
  process.kill("SIGTERM");
  assert.equal((await process.status).code, 0);
  await reader.cancel();
  await process.stderr.cancel();
  stop.abort();
  await server.finished;
  Deno.removeSync(state, { recursive: true });
});

Deno.test("connect does join stdin and stdout to the agent's flow", unix, async () => {
  const state = Deno.makeTempDirSync();
  const stop = new AbortController();
  const server = await serveStatus({
    state,
    signal: stop.signal,
    answer: () =>
      new RawAnswer({ connected: "web" }, async (pipe) => {
        const buffer = new Uint8Array(1000);
        for (let count = await pipe.read(buffer); count !== null; count = await pipe.read(buffer)) {
          await pipe.write(buffer.slice(0, count));
        }
        // After its end of input the asker still hears us.
        await pipe.write(new TextEncoder().encode("and goodbye"));
      }),
  });
  const sent = new TextEncoder().encode("hello ".repeat(50_000));
  const process = command(["connect", "web", "--state", state], { stdin: "piped" }).spawn();
  const writer = process.stdin.getWriter();
  writer.write(sent).then(() => writer.close());
  const { code, stdout } = await process.output();
  assert.equal(code, 0);
  assert.equal(new TextDecoder().decode(stdout), "hello ".repeat(50_000) + "and goodbye");
  stop.abort();
  await server.finished;
  Deno.removeSync(state, { recursive: true });
});

Deno.test("main() does read its config file and environment", async () => {
  const folder = Deno.makeTempDirSync();
  const file = join(folder, "c.json");
  Deno.writeTextFileSync(file, '{"stat": "x"}');
  const { code, err } = await postern(["status"], { env: { POSTERN_CONFIG: file } });
  assert.equal(code, 2);
  assert.match(err, /unknown key "stat"\n {2}Did you mean "state"\?/);
  Deno.removeSync(folder, { recursive: true });
});
