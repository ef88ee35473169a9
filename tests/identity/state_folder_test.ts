import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { join } from "node:path";
import * as v from "valibot";
import { openStateFolder, StateError, type StateErrorCode } from "../../src/identity/mod.ts";

const posix = Deno.build.os !== "windows";

async function withTemp(work: (path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempDir();
  try {
    await work(path);
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

function withCode(code: StateErrorCode, text = "") {
  return (error: unknown) => {
    ok(error instanceof StateError, String(error));
    equal(error.code, code, error.message);
    ok(error.next, "says what to do");
    ok(error.message.includes(text), error.message);
    return true;
  };
}

const mode = (path: string) => Deno.statSync(path).mode! & 0o777;

Deno.test("openStateFolder() makes a private folder and finds it again", () =>
  withTemp(async (temp) => {
    const path = join(temp, "deep", "state");
    const folder = await openStateFolder(path, { role: "agent", create: true });
    await folder.write("x", "secret");
    if (posix) {
      equal(mode(path), 0o700);
      equal(mode(folder.file("x")), 0o600);
      equal(mode(folder.file("postern.json")), 0o600);
      Deno.chmodSync(path, 0o755);
    }
    const again = await openStateFolder(path, { role: "agent" });
    equal(await again.readText("x"), "secret");
    if (posix) equal(mode(path), 0o700);
  }));

Deno.test("openStateFolder() refuses a folder that is missing, and says how to start", () =>
  withTemp(async (path) => {
    await rejects(openStateFolder(join(path, "no"), { role: "relay" }), withCode("missing"));
    // An empty folder is not a state yet either.
    await rejects(openStateFolder(path, { role: "relay" }), withCode("missing"));
    deepEqual([...Deno.readDirSync(path)], []);
  }));

Deno.test("openStateFolder() refuses other people's folders, and files", () =>
  withTemp(async (path) => {
    Deno.writeTextFileSync(join(path, "thesis.txt"), "");
    const options = { role: "agent", create: true } as const;
    await rejects(openStateFolder(path, options), withCode("not-ours", "thesis.txt"));
    await rejects(openStateFolder(join(path, "thesis.txt"), options), withCode("not-ours"));
    equal([...Deno.readDirSync(path)].length, 1);
  }));

Deno.test("openStateFolder() refuses another role's, a newer and a damaged header, unchanged", () =>
  withTemp(async (path) => {
    const header = join(path, "postern.json");
    await openStateFolder(path, { role: "relay", create: true });
    const open = () => openStateFolder(path, { role: "agent", create: true });
    await rejects(open(), withCode("other-role", "relay"));
    for (
      const [text, code] of [
        [`{"format": 2, "role": {"new": "shape"}}`, "newer"],
        [`{"format": 1, "role": "king"}`, "corrupt"],
        [`{"format": 1`, "corrupt"],
        ["", "corrupt"],
        ["\xff\xfe".repeat(10), "corrupt"],
      ] as const
    ) {
      Deno.writeFileSync(header, Uint8Array.from(text, (letter) => letter.charCodeAt(0)));
      const before = Deno.readFileSync(header);
      await rejects(open(), withCode(code));
      deepEqual(Deno.readFileSync(header), before);
    }
  }));

Deno.test("StateFolder.readJson() says which file is damaged and how", () =>
  withTemp(async (path) => {
    const folder = await openStateFolder(path, { role: "agent", create: true });
    const schema = v.object({ a: v.number() });
    equal(await folder.readJson("f.json", schema), undefined);
    for (const text of ["", "{", "[]", `{"a": "1"}`, "\0"]) {
      await folder.write("f.json", text);
      await rejects(folder.readJson("f.json", schema), withCode("corrupt", "f.json"));
    }
    await folder.writeJson("f.json", { a: 1 });
    deepEqual(await folder.readJson("f.json", schema), { a: 1 });
    await folder.remove("f.json");
    await folder.remove("f.json");
  }));

Deno.test("StateFolder.write() leaves no half and no temporary file under many writers", () =>
  withTemp(async (path) => {
    const folder = await openStateFolder(path, { role: "agent", create: true });
    const texts = Array.from({ length: 20 }, (_, i) => String(i).repeat(10_000));
    await Promise.all(texts.map((text) => folder.write("f", text)));
    ok(texts.includes(await folder.readText("f") ?? ""));
    deepEqual([...Deno.readDirSync(path)].map(({ name }) => name).sort(), ["f", "postern.json"]);
  }));

Deno.test("StateFolder.lock() keeps a second user out until released, and tidies up", () =>
  withTemp(async (path) => {
    const folder = await openStateFolder(path, { role: "agent", create: true });
    Deno.writeTextFileSync(join(path, ".identity.json.123-0.tmp"), "half");
    const lock = await folder.lock();
    ok(![...Deno.readDirSync(path)].some(({ name }) => name.endsWith(".tmp")));
    await rejects(folder.lock(), withCode("in-use", posix ? `(process ${Deno.pid})` : ""));
    lock.release();
    lock.release();
    using _again = await folder.lock();
  }));

Deno.test("StateFolder.lock() is free at once after its holder was killed", () =>
  withTemp(async (path) => {
    const folder = await openStateFolder(path, { role: "agent", create: true });
    const module = new URL("../../src/identity/mod.ts", import.meta.url).href;
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        "eval",
        "--no-check",
        `
        import { openStateFolder } from ${JSON.stringify(module)};
        const folder = await openStateFolder(${JSON.stringify(path)}, { role: "agent" });
        await folder.lock();
        console.log("locked");
        setInterval(() => {}, 1000);
      `,
      ],
      cwd: new URL("../..", import.meta.url).pathname,
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const reader = child.stdout.getReader();
    const { value } = await reader.read();
    equal(new TextDecoder().decode(value).trim(), "locked");
    await rejects(folder.lock(), withCode("in-use", posix ? `(process ${child.pid})` : ""));
    child.kill("SIGKILL");
    await child.status;
    await reader.cancel();
    using _lock = await folder.lock();
  }));

const asRoot = Deno.build.os === "linux" && Deno.uid() === 0;

Deno.test({
  name: "StateFolder says that a folder is read-only, and for whom",
  ignore: !posix,
  fn: () =>
    withTemp(async (path) => {
      const folder = await openStateFolder(path, { role: "agent", create: true });
      if (!asRoot) {
        Deno.chmodSync(path, 0o500);
        await rejects(folder.lock(), withCode("read-only"));
        await rejects(folder.write("x", ""), withCode("read-only"));
        Deno.chmodSync(path, 0o700);
        return;
      }
      // Modes do not hold root back; a mount does, in a namespace of its own.
      const module = new URL("../../src/identity/mod.ts", import.meta.url).href;
      const script = `
        import { openStateFolder } from ${JSON.stringify(module)};
        const folder = await openStateFolder(${JSON.stringify(path)}, { role: "agent" });
        for (const act of [() => folder.lock(), () => folder.write("x", "")]) {
          await act().then(() => console.log("done"), (e) => console.log(e.code, e.message));
        }
        await openStateFolder(${JSON.stringify(join(path, "new"))}, { role: "agent", create: true })
          .catch((e) => console.log(e.code, e.message));
      `;
      const output = await new Deno.Command("unshare", {
        args: [
          "-m",
          "sh",
          "-c",
          `mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec "$2" eval --no-check "$3"`,
          "sh",
          path,
          Deno.execPath(),
          script,
        ],
        cwd: new URL("../..", import.meta.url).pathname,
      }).output();
      const text = new TextDecoder().decode(output.stdout);
      if (!output.success && text === "") {
        console.log("skipped: this machine allows no mount namespaces");
        return;
      }
      const lines = text.trim().split("\n");
      equal(lines.length, 3, text + new TextDecoder().decode(output.stderr));
      for (const line of lines) ok(line.startsWith("read-only Cannot "), line);
    }),
});
