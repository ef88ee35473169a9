import assert from "node:assert/strict";
import { join } from "node:path";
import { COMMON_FLAGS } from "../../src/cli/command.ts";
import { OutputClosed } from "../../src/cli/io.ts";
import { definedOnly, runRole } from "../../src/cli/role.ts";
import { createFakeIo } from "./fake_io.ts";

const unix = { ignore: Deno.build.os === "windows" };
if (unix.ignore) console.log("signal tests skip: Windows has no SIGINT between processes");

function start(...args: string[]) {
  const process = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-check",
      "--quiet",
      join(import.meta.dirname!, "role_fixture.ts"),
      ...args,
    ],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const stdout = process.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const stderr = process.stderr.pipeThrough(new TextDecoderStream()).getReader();
  return { process, stdout, stderr };
}

for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
  Deno.test(`runRole() does end in good order at ${signal}`, unix, async () => {
    const { process, stdout, stderr } = start();
    assert.equal((await stdout.read()).value, "fixture ready\n");
    process.kill(signal);
    assert.match((await stderr.read()).value!, new RegExp(`info  stopping  signal=${signal} `));
    assert.equal((await process.status).code, 0);
    await Promise.all([stdout.cancel(), stderr.cancel()]);
  });

  Deno.test(`runRole() does end at once at the second ${signal}`, unix, async () => {
    const { process, stdout, stderr } = start("stubborn");
    assert.equal((await stdout.read()).value, "fixture ready\n");
    process.kill(signal);
    assert.match((await stderr.read()).value!, /stopping/);
    process.kill(signal);
    assert.equal((await process.status).code, code);
    await Promise.all([stdout.cancel(), stderr.cancel()]);
  });
}

Deno.test("definedOnly() does drop what is undefined and nothing else", () => {
  assert.deepEqual(definedOnly({ a: undefined, b: null, c: 0, d: "" }), { b: null, c: 0, d: "" });
});

Deno.test("runRole() does go on when nobody reads what it says", async () => {
  const io = {
    ...createFakeIo(),
    out() {
      throw new OutputClosed();
    },
  };
  const values = {
    ...Object.fromEntries(Object.entries(COMMON_FLAGS).map(([key, flag]) => [key, flag.fallback])),
    state: "/tmp",
    noDirect: true,
    noEarlyData: false,
  } as Parameters<typeof runRole>[1];
  let served = false;
  const code = await runRole("agent", values, { io, self: "p" }, (common) => {
    common.say("ready");
    assert.equal(common.noDirect, true);
    assert.equal(common.self, "p");
    served = true;
    return Promise.resolve();
  });
  assert.ok(served);
  assert.equal(code, 0);
});
