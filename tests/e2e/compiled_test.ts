/**
 * The packed program (`compile.sh`): alone in a folder, with an empty environment, without a network.
 *
 * `POSTERN_BIN` names a finished file to test; without it, one is made first.
 * @module
 */
import assert from "node:assert/strict";
import config from "../../deno.json" with { type: "json" };
import {
  eventually,
  findProgram,
  fromFileUrl,
  hashOfFile,
  inScene,
  isLinuxRoot,
  isReadyToRun,
  lacks,
  randomFile,
  run,
} from "./harness.ts";

const VERSION_LINE = `postern ${config.version}\n`;

/** Packing compresses a hundred megabytes. */
const PACK_WITHIN_MS = 300_000;

/** Somebody without rights, for what root may do anyway. */
const NOBODY = 65534;

/** How long a first run may take until it starts to unpack. */
const UNPACK_WITHIN_MS = 20_000;

/** A file alone in a folder that everybody may read and nobody may write to. */
class Alone implements AsyncDisposable {
  readonly folder: string = Deno.makeTempDirSync({ prefix: "postern-alone-" });
  readonly file: string = `${this.folder}/postern`;
  /** What the file unpacks to (`0.1.0-0123456789abcdef`); `undefined` where it does not unpack itself. */
  name: string | undefined;

  async fill(): Promise<void> {
    const finished = Deno.env.get("POSTERN_BIN");
    if (finished) await Deno.copyFile(finished, this.file);
    else {
      const script = fromFileUrl(new URL("../../compile.sh", import.meta.url));
      const made = await run("sh", [script, "--output", this.file], {
        withinMs: PACK_WITHIN_MS,
        env: { DENO: Deno.execPath() },
      });
      assert.equal(made.code, 0, made.stderr);
      assert.match(made.stdout, /^size {3}\d+ bytes\nsha256 [0-9a-f]{64}$/m);
    }
    await Deno.chmod(this.file, 0o755);
    await Deno.chmod(this.folder, 0o555);
    const head = new Uint8Array(8192);
    using opened = await Deno.open(this.file);
    await opened.read(head);
    this.name = /^#!.*\n(?:#.*\n)*name=(\S+)/.exec(new TextDecoder().decode(head))?.[1];
    await this.forget();
  }

  /** Removes what an empty environment made it unpack under the temporary folder. */
  async forget(): Promise<void> {
    if (this.name === undefined) return;
    for (const user of [Deno.uid(), NOBODY]) {
      const folder = `/tmp/postern-${user}/${this.name}`;
      await Deno.remove(folder, { recursive: true }).catch(() => {});
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.forget();
    await Deno.chmod(this.folder, 0o700);
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** A network namespace with nothing but its loopback. */
class NoNetwork implements AsyncDisposable {
  readonly #ip = findProgram("ip")!;
  readonly #name = `postern-e2e-${Deno.pid}-${crypto.randomUUID().slice(0, 8)}`;
  /** The words before a command line that lead into it. */
  readonly wrap: readonly string[] = [this.#ip, "netns", "exec", this.#name];

  async open(): Promise<void> {
    const loopbackUp = ["-n", this.#name, "link", "set", "lo", "up"];
    for (const args of [["netns", "add", this.#name], loopbackUp]) {
      const done = await run(this.#ip, args);
      assert.equal(done.code, 0, done.stderr);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await run(this.#ip, ["netns", "delete", this.#name]);
  }
}

/** Two first runs at once and a later one, without rights, environment or network. */
async function startsAnywhere(alone: Alone): Promise<void> {
  await using none = new NoNetwork();
  await none.open();
  const drop = [findProgram("setpriv")!, `--reuid=${NOBODY}`, `--regid=${NOBODY}`];
  const [first, ...rest] = [...none.wrap, ...drop, "--clear-groups", alone.file, "--version"];
  const start = () => run(first!, rest, { clearEnv: true, cwd: "/" });
  const wanted = { code: 0, stdout: VERSION_LINE, stderr: "" };
  assert.deepEqual(await Promise.all([start(), start()]), [wanted, wanted]);
  assert.deepEqual(await start(), wanted, "a later run");
  if (alone.name === undefined) return;
  const left = [...Deno.readDirSync(`/tmp/postern-${NOBODY}`)].map((entry) => entry.name);
  assert.deepEqual(left.filter((entry) => entry.startsWith(".unpack")), []);
}

/** All three roles and a service in one namespace without a network. */
async function carriesTraffic(alone: Alone): Promise<void> {
  await using none = new NoNetwork();
  await none.open();
  await inScene(async (scene) => {
    const site = scene.path("site");
    await Deno.mkdir(site);
    const hash = await randomFile(`${site}/file`, 8);
    const serve = ["-m", "http.server", "8080", "--bind", "127.0.0.1", "--directory", site];
    scene.start("python3 -m http.server", findProgram("python3")!, serve);
    const relay = await scene.startRelay();
    const home = await scene.invite(relay, "connector", "home", ["web"]);
    const alice = await scene.invite(relay, "agent", "alice", ["web"]);
    const connector = scene.startConnector({ invite: home, services: ["web=127.0.0.1:8080"] });
    const agent = scene.startAgent({ invite: alice, services: ["web"] });
    await Promise.all([connector.ready(), agent.process.ready()]);
    const url = `http://127.0.0.1:${agent.ports["web"]}/file`;
    const args = [...none.wrap.slice(1), findProgram("curl")!, "-sS", "--fail", url];
    await eventually("the file", async () => {
      const got = await run(none.wrap[0]!, [...args, "-o", scene.path("copy")]);
      if (got.code !== 0) throw new Error(got.stderr);
      return true;
    });
    assert.equal(await hashOfFile(scene.path("copy")), hash);
    assert.equal((await scene.status(agent.state))["role"], "agent");
    for (const process of [agent.process, connector, relay.process]) {
      assert.equal(await process.stop(), 0, `${process.title} ends in good order`);
    }
  }, { wrap: none.wrap, program: { command: alone.file, args: [] }, onlyEnv: {} });
}

/** What a person typed arrives as it was typed, and what they set for Deno or Node changes nothing. */
async function takesWordsAsTheyAre(alone: Alone): Promise<void> {
  for (const word of ["a  b", `it's "quoted"`, "$HOME *", "ü\\n"]) {
    const said = await run(alone.file, [word], {
      env: { DENO_DIR: "/nonexistent", NODE_OPTIONS: "--wrong", DENO_NO_PROMPT: "" },
    });
    assert.equal(said.code, 2);
    assert.ok(said.stderr.includes(JSON.stringify(word)), said.stderr);
  }
}

/** A first run that is killed leaves nothing that a later one would trust. */
async function outlivesKills(alone: Alone): Promise<void> {
  const cache = await Deno.makeTempDir({ prefix: "postern-cache-" });
  // Nowhere else may there be one that it could use instead.
  const env = { POSTERN_CACHE: cache, HOME: "", XDG_CACHE_HOME: "" };
  await alone.forget();
  const kill = findProgram("kill")!;
  try {
    // Detached, it leads a group: the shell, tail, gzip and tar end together.
    const first = new Deno.Command(alone.file, {
      args: ["--version"],
      env,
      detached: true,
      stdout: "null",
      stderr: "null",
    }).spawn();
    const half = await eventually("a half-unpacked folder", async () => {
      for await (const entry of Deno.readDir(cache)) {
        const found = await Deno.stat(`${cache}/${entry.name}/bin/deno`).catch(() => undefined);
        if (found !== undefined) return entry.name;
      }
      return undefined;
    }, { everyMs: 1, withinMs: UNPACK_WITHIN_MS });
    await run(kill, ["-KILL", "--", `-${first.pid}`]);
    await first.status;
    assert.match(half, /^\.unpack-/);
    const left = [...Deno.readDirSync(cache)].map((entry) => entry.name);
    assert.deepEqual(left, [half], "killed in the middle");
    assert.equal((await run(alone.file, ["--version"], { env })).stdout, VERSION_LINE);

    await Deno.remove(`${cache}/${alone.name}/app/main.ts`);
    const mended = await run(alone.file, ["--version"], { env });
    assert.equal(mended.stdout, VERSION_LINE, "a damaged folder is replaced");
  } finally {
    await Deno.remove(cache, { recursive: true });
  }
}

/** A file that was cut says so. */
async function refusesDamage(alone: Alone): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "postern-damaged-" });
  try {
    const file = `${folder}/postern`;
    const size = (await Deno.stat(alone.file)).size;
    const script = 'head -c "$1" "$2" >"$3" && chmod 755 "$3"';
    await run("sh", ["-c", script, "sh", `${Math.floor(size / 2)}`, alone.file, file]);
    const env = { POSTERN_CACHE: folder, TMPDIR: folder, XDG_CACHE_HOME: "", HOME: "" };
    const said = await run(file, ["--version"], { env, clearEnv: true });
    assert.equal(said.code, 1);
    assert.match(said.stderr, /Cannot unpack/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test({
  name: "the packed program: one file, nothing else needed",
  ignore: !isReadyToRun() || Deno.build.os === "windows" ||
    lacks("the packed program", "sh", "tar", "gzip", "tail"),
  fn: async (test) => {
    await using alone = new Alone();
    await alone.fill();
    const netless = isLinuxRoot() && !lacks("packed, without a network", "ip", "setpriv");
    if (!isLinuxRoot()) console.log("skipped: packed, without a network: needs root on Linux");
    const unpacks = alone.name !== undefined;
    if (!unpacks) console.log("skipped: packed, unpacking: this file does not unpack itself");
    await test.step({
      name: "starts without rights, environment or network, twice at the same moment",
      ignore: !netless,
      fn: () => startsAnywhere(alone),
    });
    await test.step({
      name: "carries traffic in all three roles with an empty environment and no network",
      ignore: !netless || lacks("packed roles", "python3", "curl"),
      fn: () => carriesTraffic(alone),
    });
    await test.step({
      name: "takes every word as it is, and nothing from Deno's or Node's variables",
      fn: () => takesWordsAsTheyAre(alone),
    });
    await test.step({
      name: "never uses what a killed first run left, and replaces a damaged folder",
      ignore: !unpacks || lacks("packed, killed", "kill"),
      fn: () => outlivesKills(alone),
    });
    await test.step({
      name: "says so when the file was cut",
      ignore: !unpacks,
      fn: () => refusesDamage(alone),
    });
  },
});
