/**
 * Holds the shape of the house: who imports whom, what pure code may touch, how long a file gets. The second half
 * breaks each rule on purpose and sees it caught.
 * @module
 */
import assert from "node:assert/strict";
import { checkHouse, checkRegistry, isPure, MAX_LINES, type Rule } from "./house_rules.ts";
import { readSource } from "./source_reader.ts";

const ROOT = new URL("../", import.meta.url);

/** What is made, fetched or written by others: not part of the tree. */
const NOT_OURS = new Set([".git", "dist", "node_modules"]);

function* walk(folder = ""): Generator<string> {
  const entries = [...Deno.readDirSync(new URL(folder, ROOT))];
  for (const entry of entries.toSorted((a, b) => a.name < b.name ? -1 : 1)) {
    if (NOT_OURS.has(entry.name)) continue;
    if (entry.isDirectory) yield* walk(`${folder}${entry.name}/`);
    else if (entry.isFile) yield folder + entry.name;
  }
}

function read(path: string): string {
  return Deno.readTextFileSync(new URL(path, ROOT));
}

function program(): Map<string, string> {
  const paths = [...walk()].filter((path) =>
    path.endsWith(".ts") && (path === "main.ts" || path.startsWith("src/"))
  );
  return new Map(paths.map((path) => [path, read(path)]));
}

function bareNames(): string[] {
  return Object.keys((JSON.parse(read("deno.json")) as { imports: object }).imports);
}

function rulesBroken(files: Record<string, string>): Rule[] {
  const broken = checkHouse(new Map(Object.entries(files)), ["valibot", "@matrixai/quic/"]);
  return [...new Set(broken.map((violation) => violation.rule))];
}

Deno.test("the program keeps every rule of the house", () => {
  const files = program();
  assert.ok(files.size > 10, "found the program's files");
  const broken = checkHouse(files, bareNames());
  assert.deepEqual(broken.map((v) => `${v.path}:${v.line} [${v.rule}] ${v.message}`), []);
});

Deno.test("no file of the tree names the registry that cannot be reached everywhere", () => {
  const broken = [...walk()].flatMap((path) => checkRegistry(path, read(path)));
  assert.deepEqual(broken.map((v) => `${v.path}:${v.line}`), []);
});

Deno.test("checkHouse() lets a sound house stand", () => {
  const files = {
    "main.ts": `import { run } from "./src/cli/mod.ts";\nawait run();`,
    "src/cli/mod.ts":
      `import version from "../../deno.json" with { type: "json" };\nexport const run = async () => await import("../quic/mod.ts");`,
    "src/quic/mod.ts":
      `import quiche from "@matrixai/quic/dist/native/quiche.js";\nimport "node:net";
      export { quiche };`,
    "src/qad/codec.ts":
      `import * as v from "valibot";\n// Date, await and setTimeout in words\nexport const text = "Deno.exit";
      export const it = \`fetch \${v.string()} Date\`, pattern = /Date[/]performance/;`,
  };
  assert.deepEqual(rulesBroken(files), []);
});

const UPWARD: Record<string, string> = {
  "a static import": `import { a } from "../roles/a.ts";`,
  "a type import": `import type { A } from "../roles/a.ts";`,
  "a re-export": `export * from "../roles/a.ts";`,
  "an import for its effects": `import "../roles/a.ts";`,
  "a dynamic import": `export const a = () => import("../roles/a.ts");`,
  "an import over several lines": `import {\n  a, // with words\n  b,\n} from\n  "../roles/a.ts";`,
  "an import inside a template": "export const a = `${import('../roles/a.ts')}`;",
};
for (const [what, text] of Object.entries(UPWARD)) {
  Deno.test(`checkHouse() catches a room that imports upward by ${what}`, () => {
    const files = { "src/mux/flow.ts": text, "src/roles/a.ts": "export const a = 1, b = 2;" };
    assert.deepEqual(rulesBroken(files), ["downward"]);
  });
}

Deno.test("checkHouse() catches a room that imports the tests", () => {
  assert.deepEqual(rulesBroken({ "src/cli/a.ts": `import "../../tests/b.ts";` }), ["downward"]);
});

Deno.test("checkHouse() catches a folder that is no room", () => {
  assert.deepEqual(rulesBroken({ "src/attic/a.ts": "export {};" }), ["unknown-room"]);
});

Deno.test("checkHouse() catches the engine outside of its room", () => {
  const text = `import quiche from "@matrixai/quic/dist/native/quiche.js";\nexport { quiche };`;
  assert.deepEqual(rulesBroken({ "src/tunnel/a.ts": text }), ["engine"]);
  assert.deepEqual(rulesBroken({ "main.ts": text }), ["engine"]);
});

Deno.test("checkHouse() catches files that import each other in a circle", () => {
  const files = {
    "src/mux/a.ts": `import "./b.ts";`,
    "src/mux/b.ts": `import "./c.ts";`,
    "src/mux/c.ts": `import "./a.ts";`,
  };
  const broken = checkHouse(new Map(Object.entries(files)));
  assert.deepEqual(broken.map(({ rule, path }) => [rule, path]), [["cycle", "src/mux/a.ts"]]);
});

Deno.test("checkHouse() catches a specifier that is not in the import map", () => {
  for (const specifier of ["npm:left-pad@1", "left-pad", "https://example.org/a.ts", "valibot/x"]) {
    assert.deepEqual(rulesBroken({ "src/mux/a.ts": `import "${specifier}";` }), ["specifier"]);
  }
});

Deno.test("checkHouse() catches the registry that cannot be reached everywhere", () => {
  const text = `import "${"js"}r:@std/cli";`;
  assert.deepEqual(rulesBroken({ "src/cli/a.ts": text }).toSorted(), ["registry", "specifier"]);
});

Deno.test("checkHouse() catches a file that is too long", () => {
  assert.deepEqual(rulesBroken({ "src/mux/a.ts": "//\n".repeat(MAX_LINES) }), []);
  assert.deepEqual(rulesBroken({ "src/mux/a.ts": "//\n".repeat(MAX_LINES + 1) }), ["length"]);
});

Deno.test("checkHouse() catches a default export", () => {
  for (const text of ["export default 1;", "const a = 1;\nexport { a as default };"]) {
    assert.deepEqual(rulesBroken({ "src/mux/a.ts": text }), ["default-export"]);
  }
});

const IMPURE = [
  "Deno.args;",
  "process.env;",
  "setTimeout(() => {}, 1);",
  "setInterval(() => {}, 1);",
  "setImmediate(() => {});",
  "queueMicrotask(() => {});",
  "new Date();",
  "Date.now();",
  "performance.now();",
  "Math.random();",
  "crypto.getRandomValues(new Uint8Array(1));",
  "crypto.subtle;",
  "fetch(url);",
  "globalThis.Date;",
  "console.log(1);",
  "async function a() {}",
  "await 1;",
  `import "node:fs";`,
  "`${Date.now()}`;",
  "const half = total / 2; Date.now(); const third = total / 3;",
];
for (const text of IMPURE) {
  Deno.test(`checkHouse() catches below the sans-IO line: ${text}`, () => {
    assert.deepEqual(rulesBroken({ "src/qad/a.ts": text }), ["sans-io"]);
    assert.deepEqual(rulesBroken({ "src/mux/flow_codec.ts": text }), ["sans-io"]);
    assert.deepEqual(rulesBroken({ "src/mux/pipe.ts": text }), []);
  });
}

Deno.test("checkHouse() catches pure code that reaches what is not, at any distance", () => {
  const files = {
    "src/qad/a.ts": `import { b } from "../core/b.ts";\nexport const a = b;`,
    "src/core/b.ts": `export * from "./c.ts";`,
    "src/core/c.ts": `export const b = () => Date.now();`,
  };
  assert.deepEqual(rulesBroken(files), ["sans-io"]);
  const typed = { ...files, "src/qad/a.ts": `import type { b } from "../core/b.ts";` };
  assert.deepEqual(rulesBroken(typed), []);
});

Deno.test("checkHouse() catches a relay that could take part in a tunnel, at any distance", () => {
  const files = {
    "src/roles/relay.ts": `import { a } from "./a.ts";\nexport const relay = a;`,
    "src/roles/a.ts": `export { b as a } from "../tunnel/b.ts";`,
    "src/tunnel/b.ts": "export const b = 1;",
  };
  assert.deepEqual(rulesBroken(files), ["blind-relay"]);
  const typed = { ...files, "src/roles/a.ts": `import type { b } from "../tunnel/b.ts";` };
  assert.deepEqual(rulesBroken(typed), []);
  const elsewhere = { ...files, "src/roles/relay.ts": "export const relay = 1;" };
  assert.deepEqual(rulesBroken(elsewhere), []);
});

Deno.test("isPure() draws the sans-IO line", () => {
  for (const path of ["src/qad/mod.ts", "src/path/a/b.ts", "src/relay/registry_io.ts"]) {
    assert.ok(isPure(path), path);
  }
  for (const path of ["main.ts", "src/relay/forwarder.ts", "src/cli/path.ts"]) {
    assert.ok(!isPure(path), path);
  }
});

Deno.test("readSource() keeps lines and positions", () => {
  const text = `a; /* Date\n*/ b("x\\"y", 'z') // c\n\`d\${e({ f: "g" })}h\` / i;\n`;
  const { code } = readSource(text);
  assert.equal(code.length, text.length);
  assert.equal(
    code,
    `a;        \n   b("    ", ' ')     \n\` \${e({ f: " " })} \` / i;\n`,
  );
});

Deno.test("readSource() says on which line an import stands", () => {
  const { imports } = readSource(`// import "no";\nimport {\n  a,\n} from "./a.ts";\n`);
  assert.deepEqual(imports, [{ specifier: "./a.ts", line: 4, typeOnly: false }]);
});

Deno.test("readSource() tells imports of types from others", () => {
  const typed = [
    `import type { A } from "./a.ts";`,
    `import type {\n  A,\n  B,\n} from "./a.ts";`,
    `export type { A } from "./a.ts";`,
    `export type * from "./a.ts";`,
  ];
  const others = [
    `import { type A } from "./a.ts";`,
    `import type from "./a.ts";`,
    `export type A = 1;\nimport "./a.ts";`,
    `import { A } from "./a.ts";`,
  ];
  const answers = [...typed, ...others].map((text) => readSource(text).imports[0]?.typeOnly);
  assert.deepEqual(answers, [true, true, true, true, false, false, false, false]);
});
