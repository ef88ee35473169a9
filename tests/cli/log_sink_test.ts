import assert from "node:assert/strict";
import { createLogger } from "../../src/core/mod.ts";
import { createLogSink } from "../../src/cli/log_sink.ts";

const UNIX = new Date(2026, 0, 2, 3, 4, 5, 6).getTime();

function logging(options: { format?: "text" | "json"; colour?: boolean } = {}) {
  const lines: string[] = [];
  const log = createLogger(
    createLogSink({
      format: options.format ?? "text",
      colour: options.colour ?? false,
      write: (text) => lines.push(text),
      unix: () => UNIX,
    }),
    { level: "debug" },
  );
  return { log, lines };
}

Deno.test("createLogSink() does write text lines for people", () => {
  const { log, lines } = logging();
  log.info("connected to relay", { relay: "198.51.100.10:4433", rtt: "41ms", nothing: undefined });
  log.with({ tunnel: 1 }).warn("path lost", { why: 'no "answer" for 1 s', ok: false, to: null });
  assert.deepEqual(lines, [
    "03:04:05.006 info  connected to relay  relay=198.51.100.10:4433 rtt=41ms\n",
    '03:04:05.006 warn  path lost  tunnel=1 why="no \\"answer\\" for 1 s" ok=false to=null\n',
  ]);
});

Deno.test("createLogSink() does let no value drive the terminal or break a line", () => {
  const { log, lines } = logging();
  log.error("bad\x1b[2J\nname", { name: "a\r\n\x1b]0;x\x07\u202e\u009b1m\u2028b", "k\ney": "v" });
  assert.equal(lines.length, 1);
  assert.match(lines[0]!, /^[^\p{Cc}\p{Cf}\p{Zl}]*\n$/u);
  assert.match(lines[0]!, /bad\\u\{1b\}\[2J\\nname/);
});

Deno.test("createLogSink() does cut what is too long", () => {
  const { log, lines } = logging();
  log.info("x".repeat(100_000), { y: "y".repeat(100_000) });
  assert.ok(lines[0]!.length < 5000);
});

Deno.test("createLogSink() does colour where asked to", () => {
  const { log, lines } = logging({ colour: true });
  log.error("e");
  assert.ok(lines[0]!.includes("\x1b[31merror\x1b[0m e"));
});

Deno.test("createLogSink() does write one JSON object a line", () => {
  const { log, lines } = logging({ format: "json" });
  log.info("hello\nyou", { service: "web", level: "mine", n: 1, none: undefined });
  assert.equal(lines.length, 1);
  assert.match(lines[0]!, /^[^\n]*\n$/);
  assert.deepEqual(JSON.parse(lines[0]!), {
    time: new Date(UNIX).toISOString(),
    level: "info",
    message: "hello\nyou",
    service: "web",
    level_: "mine",
    n: 1,
  });
});
