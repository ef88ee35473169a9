import assert from "node:assert/strict";
import {
  readBoolean,
  readChoice,
  readDuration,
  readHostPort,
  readInteger,
  readPath,
} from "../../src/cli/readers.ts";

Deno.test("readDuration() does read spans and refuse the rest", () => {
  for (
    const [text, ms] of [
      ["90s", 90_000],
      ["15m", 900_000],
      ["1h", 3_600_000],
      ["7d", 604_800_000],
      ["1h30m", 5_400_000],
      ["366d", 366 * 86_400_000],
    ] as const
  ) assert.equal(readDuration(text), ms);
  for (const text of ["", "0s", "1", "h", "-1h", "1.5h", "1 h", "367d", "1y", "9999999999999s"]) {
    assert.throws(() => readDuration(text), /expected a span such as 90s/, text);
  }
});

Deno.test("readInteger() does keep its bounds", () => {
  const read = readInteger({ min: -1, max: 10 });
  assert.equal(read("-1"), -1);
  assert.equal(read("10"), 10);
  for (const text of ["", "11", "-2", "1.0", "0x1", "1e1", " 1", "٣", "NaN", "1".repeat(400)]) {
    assert.throws(() => read(text), /expected a whole number from -1 to 10/, text);
  }
});

Deno.test("readChoice() does name the nearest", () => {
  const read = readChoice(["text", "json"]);
  assert.equal(read("json"), "json");
  assert.throws(() => read("jsn"), { message: /expected text, json \(did you mean json\?\)/ });
  assert.throws(() => read("xml"), { message: 'Cannot use "xml": expected text, json' });
});

Deno.test("readHostPort() does fill in the host", () => {
  assert.deepEqual(readHostPort({ defaultHost: "::" })("4433"), { host: "::", port: 4433 });
  assert.deepEqual(readHostPort()("relay.example.com:1"), { host: "relay.example.com", port: 1 });
  assert.throws(() => readHostPort()("4433"), /expected HOST:PORT/);
});

Deno.test("readBoolean() and readPath() do refuse nonsense", () => {
  assert.equal(readBoolean("TRUE"), true);
  assert.equal(readBoolean("off"), false);
  assert.throws(() => readBoolean("2"));
  assert.equal(readPath("a/b c"), "a/b c");
  assert.throws(() => readPath("a\0b"), /NUL/);
});
