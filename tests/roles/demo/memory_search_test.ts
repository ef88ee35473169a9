import assert from "node:assert/strict";
import { searchMemory } from "../../../src/roles/demo/memory_search.ts";

const ignore = Deno.build.os !== "linux";
if (ignore) console.log("skipped: searchMemory(): needs Linux");

/** Reads a line into memory, answers it backwards (so that it has looked at it), and waits. */
const HOLDER = `
  const buffer = new Uint8Array(1024);
  const count = await Deno.stdin.read(buffer);
  await Deno.stdout.write(buffer.slice(0, count).reverse());
  setInterval(() => buffer[0], 1000);
`;

Deno.test({
  name: "searchMemory() does find what a process holds, and not what it does not",
  ignore,
  async fn() {
    const child = new Deno.Command(Deno.execPath(), {
      args: ["eval", HOLDER],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    try {
      const held = new TextEncoder().encode(`held-${crypto.randomUUID()}`);
      const writer = child.stdin.getWriter();
      await writer.write(held);
      const reader = child.stdout.getReader();
      await reader.read();
      const found = searchMemory(child.pid, held);
      if (found === undefined) return console.log("skipped: this system does not let us look");
      assert.equal(found.found, true);
      const other = new TextEncoder().encode(`other-${crypto.randomUUID()}`);
      const not = searchMemory(child.pid, other);
      assert.equal(not?.found, false);
      assert(not.bytes > 2 ** 20);
      await writer.close();
      await reader.cancel();
    } finally {
      child.kill("SIGKILL");
      await child.status;
    }
  },
});

Deno.test("searchMemory() does answer undefined for a process that is not there", () => {
  assert.equal(searchMemory(2 ** 31 - 1, new Uint8Array(8)), undefined);
});
