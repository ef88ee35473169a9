import { equal, throws } from "node:assert/strict";
import { UserError } from "../../src/core/mod.ts";
import { defaultStateFolder } from "../../src/identity/mod.ts";

const from = (os: typeof Deno.build.os, variables: Record<string, string>) =>
  defaultStateFolder("agent", { os, env: (name) => variables[name] }).replaceAll("\\", "/");

Deno.test("defaultStateFolder() follows each platform's custom", () => {
  equal(from("linux", { HOME: "/h" }), "/h/.local/state/postern/agent");
  equal(from("linux", { HOME: "/h", XDG_STATE_HOME: "/s" }), "/s/postern/agent");
  equal(from("linux", { HOME: "/h", XDG_STATE_HOME: "relative" }), "/h/.local/state/postern/agent");
  equal(from("linux", { HOME: "/h", XDG_STATE_HOME: "" }), "/h/.local/state/postern/agent");
  equal(from("darwin", { HOME: "/h" }), "/h/Library/Application Support/postern/agent");
  equal(from("windows", { LOCALAPPDATA: "/l" }), "/l/postern/agent");
});

Deno.test("defaultStateFolder() asks for --state where no home is known", () => {
  throws(
    () => from("linux", {}),
    (error) => error instanceof UserError && /--state/.test(error.next!),
  );
});
