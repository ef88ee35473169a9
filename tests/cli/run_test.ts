import assert from "node:assert/strict";
import { VERSION } from "../../src/core/version.ts";
import { COMMANDS } from "../../src/cli/command_list.ts";
import { allFlags } from "../../src/cli/resolve.ts";
import { kebabOf } from "../../src/cli/flags.ts";
import { run, selfCommand } from "../../src/cli/run.ts";
import { createFakeIo } from "./fake_io.ts";

const ENV = { HOME: "/nonexistent", POSTERN_SELF: "postern" };

async function postern(argv: string[], options: { env?: Record<string, string> } = {}) {
  const io = createFakeIo({ env: { ...ENV, ...options.env } });
  const code = await run(argv, io);
  return { code, ...io.written };
}

Deno.test("run() does show the overview", async () => {
  for (const argv of [[], ["--help"], ["-h"], ["help"], ["help", "help"], ["help", "--help"]]) {
    const { code, out, err } = await postern(argv);
    assert.equal(code, 0);
    assert.equal(err, "");
    assert.match(
      out,
      /Three steps[\s\S]*postern invite[\s\S]*postern connector[\s\S]*postern agent/,
    );
    for (const { name } of COMMANDS) assert.match(out, new RegExp(`^  ${name} `, "m"));
  }
});

Deno.test("run() does show the version, with any command", async () => {
  for (const argv of [["--version"], ["-V"], ["relay", "--version"], ["--state", "x", "-V"]]) {
    assert.deepEqual(await postern(argv), { code: 0, out: `postern ${VERSION}\n`, err: "" });
  }
});

Deno.test("run() does show help with usage, flags and an example for every command", async () => {
  for (const { name, summary, load } of COMMANDS) {
    const command = await load();
    assert.equal(command.name, name);
    assert.equal(command.summary, summary, "overview and help say the same");
    const { code, out } = await postern([name, "--help"]);
    assert.equal(code, 0);
    assert.deepEqual(await postern(["help", name]), { code, out, err: "" });
    assert.match(out, new RegExp(`Usage\n  postern ${name}`));
    assert.match(out, new RegExp(`Examples?\n  #.*\n  postern ${name}`));
    for (const key of Object.keys(allFlags(command))) {
      assert.ok(out.includes(`--${kebabOf(key)}`), `${name} --${kebabOf(key)}`);
    }
    for (const line of out.split("\n")) assert.ok(line.length <= 110, line);
  }
});

Deno.test("run() does show help whatever else is wrong", async () => {
  const { code, out } = await postern(["connector", "--frobnicate", "--help"]);
  assert.equal(code, 0);
  assert.match(out, /Offer services/);
});

Deno.test("run() does find the command behind flags", async () => {
  const { code, out } = await postern(["--state", "relay", "connector", "--help"]);
  assert.equal(code, 0);
  assert.match(out, /Offer services/);
});

Deno.test("run() does refuse wrong usage with exit code 2, the cause and the next step", async () => {
  for (
    const [argv, err] of [
      [
        ["relya"],
        'postern: Unknown command "relya"\n  Did you mean relay? (postern help lists the commands)\n',
      ],
      [
        ["frobnicate"],
        'postern: Unknown command "frobnicate"\n  postern help lists the commands\n',
      ],
      [["help", "conector"], /Unknown command "conector"\n {2}Did you mean connector\?/],
      [["--satte", "x", "relay"], /Unknown flag/],
      [
        ["--state", "x"],
        "postern: Cannot start without a command\n  postern help lists the commands\n",
      ],
      [["--verson"], 'postern: Unknown flag "--verson"\n  Did you mean --version?\n'],
      [
        ["relay", "--listn", "1"],
        'postern: Unknown flag "--listn" for relay\n  Did you mean --listen?\n',
      ],
      [["relay", "--listen", "nowhere"], /--listen: Cannot read "nowhere" as an address: expected/],
      [["relay", "extra"], /Unexpected argument "extra": relay takes no arguments/],
      [["relay", "--public", "4433"], /--public: .*expected HOST:PORT/],
      [["connector", "web"], /expected web=127\.0\.0\.1:8080/],
      [["connector", "web=h:1", "web=h:2"], /Cannot offer "web" twice/],
      [["agent", "web=1", "dns=1"], /Cannot use tcp:\/\/127\.0\.0\.1:1 for both/],
      [["agent", "web=9000", "--p2p-prot", "1"], /Did you mean --p2p-port\?/],
      [["ping"], /Cannot ping without SERVICE/],
      [["ping", "../x"], /service name/],
      [["ping", "web", "-c", "x"], /--count: Cannot use "x"/],
      [["a\x1b[2Jb"], /^(?:\P{Cc}|\n)*$/u],
    ] as const
  ) {
    const result = await postern([...argv]);
    assert.equal(result.code, 2, `${argv}: ${result.err}`);
    assert.equal(result.out, "");
    if (err instanceof RegExp) assert.match(result.err, err);
    else assert.equal(result.err, err);
  }
});

Deno.test("run() does say when nothing runs, how to start it, and exit 1", async () => {
  for (const argv of [["status"], ["status", "--json"], ["ping", "web"], ["netcheck"]]) {
    const { code, out, err } = await postern(argv);
    assert.equal(code, 1);
    assert.equal(out, "");
    assert.match(
      err,
      /^postern: Cannot ask as no .* runs in the default state folders\n {2}Start one/,
    );
  }
  const { code, err } = await postern(["status", "--state", "/nonexistent/x"]);
  assert.equal(code, 1);
  assert.match(err, /no role runs with the state folder "\/nonexistent\/x"/);
});

Deno.test("run() does take the invite from a file or stdin only, and say what is wrong with it", async () => {
  const { code, err } = await postern(["agent", "web=1", "--invite-file", "/nonexistent/i"]);
  assert.equal(code, 1);
  assert.match(err, /Cannot read the invite from "\/nonexistent\/i": /);
  const empty = await postern(["connector", "--invite-file", "-"]);
  assert.equal(empty.code, 1);
  assert.match(empty.err, /Cannot read the invite from stdin as it is empty\n {2}Make an invite/);
});

Deno.test("run() does warn about a misspelt twin and go on", async () => {
  const { code, err } = await postern(["status"], { env: { POSTERN_STAET: "x" } });
  assert.equal(code, 1);
  assert.match(err, /POSTERN_STAET is set but means nothing; did you mean POSTERN_STATE\?/);
});

Deno.test("selfCommand() does say how the program was started", () => {
  assert.equal(selfCommand((name) => name === "POSTERN_SELF" ? "./p" : undefined), "./p");
  assert.equal(selfCommand(() => undefined), "deno run -A main.ts");
});

Deno.test("run() does put what this person types into hints", async () => {
  const { err } = await postern(["frobnicate"], { env: { POSTERN_SELF: "./dist/postern" } });
  assert.match(err, /\n {2}\.\/dist\/postern help lists the commands\n/);
});
