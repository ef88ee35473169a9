import assert from "node:assert/strict";
import { UsageError } from "../../src/core/mod.ts";
import { defineCommand } from "../../src/cli/command.ts";
import {
  argument,
  defaultedFlag,
  environmentOf,
  kebabOf,
  listFlag,
  optionalArgument,
  restArguments,
  switchFlag,
  valueFlag,
} from "../../src/cli/flags.ts";
import { readInteger, readPath, readPort, readText } from "../../src/cli/readers.ts";
import { misspeltTwins, resolveValues } from "../../src/cli/resolve.ts";

const sample = defineCommand({
  name: "sample",
  summary: "A sample",
  args: {
    first: argument({ label: "FIRST", read: readText, help: "the first" }),
    others: restArguments({ label: "OTHER", read: readPort, help: "others" }),
  },
  flags: {
    p2pPort: valueFlag({ value: "PORT", read: readPort, help: "a port" }),
    count: defaultedFlag({
      value: "N",
      short: "c",
      read: readInteger({ min: 0, max: 9 }),
      shown: "5",
      help: "how many",
    }),
    service: listFlag({ value: "S", read: readText, help: "services" }),
    json: switchFlag("json"),
    inviteFile: valueFlag({ value: "F", read: readPath, path: true, help: "a file" }),
  },
  examples: [["sample x", "an example"]],
  run: () => Promise.resolve(0),
});

function resolve(
  argv: string[],
  options: { env?: Record<string, string>; config?: string } = {},
) {
  return resolveValues(sample, argv, {
    env: (name) => options.env?.[name],
    readConfig: () => options.config ?? assert.fail("no config was expected to be read"),
  });
}

function refusal(work: () => unknown): { message: string; next: string | undefined } {
  try {
    work();
  } catch (error) {
    assert.ok(error instanceof UsageError, String(error));
    return { message: error.message, next: error.next };
  }
  assert.fail("expected a refusal");
}

Deno.test("kebabOf() and environmentOf() do make flag and twin from a key", () => {
  assert.equal(kebabOf("p2pPort"), "p2p-port");
  assert.equal(environmentOf("p2pPort"), "POSTERN_P2P_PORT");
  assert.equal(environmentOf("noEarlyData"), "POSTERN_NO_EARLY_DATA");
});

Deno.test("resolveValues() does give typed values and defaults", () => {
  const values = resolve(["one", "--p2p-port=7", "8", "-c3", "--service", "a", "--service=b", "9"]);
  assert.equal(values.first, "one");
  assert.deepEqual(values.others, [8, 9]);
  assert.equal(values.p2pPort, 7);
  assert.equal(values.count, 3);
  assert.deepEqual(values.service, ["a", "b"]);
  assert.equal(values.json, false);
  assert.equal(values.logLevel, "info");
  assert.equal(values.state, undefined);
});

Deno.test("resolveValues() does let -- end flags and - be a value", () => {
  const values = resolve(["--invite-file", "-", "--", "--json"]);
  assert.equal(values.inviteFile, "-");
  assert.equal(values.first, "--json");
  assert.equal(values.json, false);
});

Deno.test("resolveValues() does let argv win over environment over config over default", () => {
  const config = '{"count": 1, "service": ["c"], "json": true, "state": "/c"}';
  const env = {
    POSTERN_CONFIG: "f.json",
    POSTERN_COUNT: "2",
    POSTERN_SERVICE: "e, f",
    POSTERN_STATE: "/e",
  };
  const fromAll = resolve(["x", "-c", "3", "--json=false"], { env, config });
  assert.equal(fromAll.count, 3);
  assert.deepEqual(fromAll.service, ["e", "f"]);
  assert.equal(fromAll.json, false);
  assert.equal(fromAll.state, "/e");
  const fromConfig = resolve(["x", "--config", "f.json"], { config });
  assert.equal(fromConfig.count, 1);
  assert.deepEqual(fromConfig.service, ["c"]);
  assert.equal(fromConfig.json, true);
  assert.equal(fromConfig.state, "/c");
  assert.equal(resolve(["x"]).count, 5);
});

Deno.test("resolveValues() does read switches from the environment", () => {
  assert.equal(resolve(["x"], { env: { POSTERN_JSON: "1" } }).json, true);
  assert.equal(resolve(["x"], { env: { POSTERN_JSON: "no" } }).json, false);
  const { message } = refusal(() => resolve(["x"], { env: { POSTERN_JSON: "maybe" } }));
  assert.equal(message, 'POSTERN_JSON: Cannot use "maybe": expected true or false');
});

Deno.test("resolveValues() does take arguments from the config, argv first", () => {
  const config = '{"first": "c", "others": [1, "2"], "p2p-port": 4, "inviteFile": "i"}';
  const values = resolve(["--config", "/etc/postern/s.json"], { config });
  assert.equal(values.first, "c");
  assert.deepEqual(values.others, [1, 2]);
  assert.equal(values.p2pPort, 4);
  // Paths in a file are meant from where the file is.
  assert.equal(values.inviteFile, "/etc/postern/i");
  assert.equal(resolve(["--config", "s.json", "argv"], { config }).first, "argv");
});

Deno.test("resolveValues() does refuse wrong command lines with cause and next step", () => {
  for (
    const [argv, message, next] of [
      [["x", "--cuont", "3"], 'Unknown flag "--cuont" for sample', "did you mean --count?"],
      [["x", "--cuont=3"], 'Unknown flag "--cuont" for sample', "did you mean --count?"],
      [["x", "-json"], 'Unknown flag "-json" for sample', "did you mean --json?"],
      [["x", "--frobnicate"], 'Unknown flag "--frobnicate" for sample', /--help lists the flags/],
      [["x", "-q"], 'Unknown flag "-q" for sample', /--help lists the flags/],
      [["x", "--count"], "Cannot use --count without a value", "write --count N"],
      [["x", "--count="], "Cannot use --count without a value", "write --count N"],
      [["x", "--count", "--json"], "Cannot use --count without a value", /--count=--json/],
      [["x", "-c", "1", "--count", "2"], "Cannot use --count twice", "give --count once"],
      [["x", "--json", "--json"], "Cannot use --json twice", "give --json once"],
      [["x", "--json=perhaps"], '--json: Cannot use "perhaps": expected true or false', undefined],
      [
        ["x", "--count", "ten"],
        '--count: Cannot use "ten": expected a whole number from 0 to 9',
        undefined,
      ],
      [["x", "--count=-1"], /whole number from 0 to 9/, undefined],
      [["x", "--count", "1e1"], /whole number from 0 to 9/, undefined],
      [["x", "--p2p-port", "65536"], /whole number from 0 to 65535/, undefined],
      [["x", "--log-level", "inof"], /did you mean info\?/, undefined],
      [
        ["x", "nine"],
        'OTHER: Cannot use "nine": expected a whole number from 0 to 65535',
        undefined,
      ],
      [[], "Cannot sample without FIRST: the first", /--help shows/],
      [["x", "--no-json"], /Unknown flag "--no-json"/, "did you mean --json?"],
      [["x", "--__proto__", "1"], /Unknown flag "--__proto__"/, /--help lists the flags/],
      [["x", "--constructor", "1"], /Unknown flag "--constructor"/, /--help lists the flags/],
    ] as const
  ) {
    const refused = refusal(() => resolve([...argv]));
    if (message instanceof RegExp) assert.match(refused.message, message);
    else assert.equal(refused.message, message);
    if (next instanceof RegExp) assert.match(refused.next ?? "", next);
    else assert.equal(refused.next, next, refused.message);
  }
});

Deno.test("resolveValues() does refuse more arguments than the command takes", () => {
  const command = defineCommand({
    ...sample,
    name: "few",
    args: {
      one: argument({ label: "ONE", read: readText, help: "one" }),
      two: optionalArgument({ label: "TWO", read: readText, help: "two" }),
    },
    run: () => Promise.resolve(0),
  });
  const sources = { env: () => undefined };
  assert.equal(resolveValues(command, ["a"], sources).two, undefined);
  const { message } = refusal(() => resolveValues(command, ["a", "b", "c"], sources));
  assert.equal(message, 'Unexpected argument "c": few takes only ONE TWO');
  const none = defineCommand({ ...sample, name: "none", args: {}, run: () => Promise.resolve(0) });
  assert.match(
    refusal(() => resolveValues(none, ["a"], sources)).message,
    /none takes no arguments/,
  );
});

Deno.test("resolveValues() does refuse a wrong config file by file, key and what is wanted", () => {
  for (
    const [config, message, next] of [
      ["{", /^Cannot use config file "f.json": it is not JSON/, undefined],
      ["[]", /expected an object such as {"state": "DIR"}, found a list/, undefined],
      ["null", /found null/, undefined],
      ['{"cuont": 1}', /"f.json": unknown key "cuont"/, 'did you mean "count"?'],
      ['{"zzzzzz": 1}', /unknown key "zzzzzz"/, /^known keys: .*p2pPort/],
      ['{"help": true}', /unknown key "help"/, undefined],
      ['{"count": {}}', /"count" is an object, expected one N/, undefined],
      ['{"count": [1]}', /"count" is a list, expected one N/, undefined],
      ['{"count": true}', /"count" is boolean, expected one N/, undefined],
      ['{"count": 77}', /^"count" in f.json: Cannot use "77"/, undefined],
      ['{"json": "yes"}', /"json" is string, expected true or false/, undefined],
      ['{"service": [null]}', /"service" is a list, expected a list of S/, undefined],
      ['{"others": false}', /"others" is boolean, expected a list of OTHER/, undefined],
      ['{"p2pPort": 1, "p2p-port": 2}', /"p2pPort" is there twice, as "p2p-port" too/, undefined],
      ['{"__proto__": {"count": 1}}', /unknown key "__proto__"/, undefined],
    ] as const
  ) {
    const refused = refusal(() => resolve(["x", "--config", "f.json"], { config }));
    assert.match(refused.message, message);
    if (next instanceof RegExp) assert.match(refused.next ?? "", next);
    else if (next !== undefined) assert.equal(refused.next, next);
  }
});

Deno.test("resolveValues() does say which config file cannot be read", () => {
  const { message } = refusal(() =>
    resolveValues(sample, ["x", "--config", "/does/not/exist.json"], { env: () => undefined })
  );
  assert.match(message, /^Cannot read config file "\/does\/not\/exist.json": /);
});

Deno.test("misspeltTwins() does notice near misses and leaves others alone", () => {
  assert.deepEqual(
    misspeltTwins(sample, [
      "POSTERN_CUONT",
      "POSTERN_COUNT",
      "POSTERN_INVITE",
      "POSTERN_SERVICE_HOST",
      "POSTERN_PORT_4433_UDP",
      "POSTERN_VERSION",
      "HOME",
    ]),
    [{ name: "POSTERN_CUONT", meant: "POSTERN_COUNT" }],
  );
});
