import assert from "node:assert/strict";
import { createProgress } from "../../src/cli/progress.ts";
import { createPaint } from "../../src/cli/terminal.ts";

function progress(isTerminal: boolean) {
  let text = "";
  let now = 0;
  const bar = createProgress({
    label: "download",
    total: 1000,
    isTerminal,
    columns: 80,
    paint: createPaint(false),
    write: (more) => text += more,
    now: () => now,
  });
  return { bar, pass: (ms: number) => now += ms, text: () => text };
}

Deno.test("createProgress() does write plain lines where there is no terminal", () => {
  const { bar, pass, text } = progress(false);
  for (let done = 0; done <= 1000; done += 10) {
    pass(10);
    bar.update(done);
  }
  bar.finish("checked");
  const lines = text().trimEnd().split("\n");
  assert.equal(lines.length, 4);
  assert.match(lines[0]!, /download 25% {2}250 B of 1000 B/);
  assert.match(lines[3]!, /download 1000 B of 1000 B {2}\d+ B\/s {2}checked/);
  assert.doesNotMatch(text(), /[^\P{Cc}\n]/u);
});

Deno.test("createProgress() does redraw one line on a terminal, not too often", () => {
  const { bar, pass, text } = progress(true);
  for (let done = 0; done <= 1000; done++) {
    pass(1);
    bar.update(done);
  }
  const pictures = text().split("\r").length - 1;
  assert.ok(pictures >= 9 && pictures <= 12, String(pictures));
  for (const picture of text().split("\r\x1b[K")) assert.ok(picture.length < 80, picture);
  bar.finish();
  assert.match(text(), /\n$/);
});

Deno.test("createProgress() does bear a total of zero and more than all", () => {
  const { bar, text } = progress(true);
  bar.update(5000);
  bar.finish();
  assert.match(text(), /100%/);
});
