import { equal, ok, rejects } from "node:assert/strict";
import {
  KnownKeys,
  type Name,
  openStateFolder,
  StateError,
  type StateFolder,
} from "../../src/identity/mod.ts";

async function withFolder(work: (folder: StateFolder) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempDir();
  try {
    await work(await openStateFolder(path, { role: "agent", create: true }));
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

const peer = (name: string, letter: string) => ({
  kind: "connector" as const,
  name: name as Name,
  pin: letter.repeat(43),
});

Deno.test("KnownKeys.load() knows what remember() learnt before", () =>
  withFolder(async (folder) => {
    const keys = await KnownKeys.load(folder);
    for (let i = 0; i < 50; i++) ok(keys.remember(peer(`c${i}`, "a"), 0));
    await keys.flush();
    const again = await KnownKeys.load(folder);
    equal(again.check(peer("c49", "a")), "known");
    equal(again.check(peer("c49", "b")), "changed");
    ok(again.forget(peer("c49", "a")));
    await again.flush();
    equal((await KnownKeys.load(folder)).check(peer("c49", "b")), "new");
  }));

Deno.test("KnownKeys.load() names a damaged line and changes nothing", () =>
  withFolder(async (folder) => {
    await folder.write("known_keys", "# head\nconnector home nonsense\n");
    await rejects(KnownKeys.load(folder), (error) => {
      ok(error instanceof StateError && error.code === "corrupt");
      ok(/known_keys.* line 2 /.test(error.message), error.message);
      return true;
    });
    equal(await folder.readText("known_keys"), "# head\nconnector home nonsense\n");
  }));

Deno.test("KnownKeys.remember() tells when it cannot be written", () =>
  withFolder(async (folder) => {
    const errors: unknown[] = [];
    const keys = await KnownKeys.load(folder, { onError: (error) => errors.push(error) });
    // A folder where the file should be: nothing can be renamed over it.
    await Deno.mkdir(folder.file("known_keys"));
    await Deno.writeTextFile(folder.file("known_keys/x"), "");
    ok(keys.remember(peer("home", "a"), 0));
    await keys.flush();
    ok(errors[0] instanceof StateError);
    equal(keys.check(peer("home", "b")), "changed");
  }));
