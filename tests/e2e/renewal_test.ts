/**
 * Connector and agent that have grown: they begin anew in their own process while nobody uses them, and serve as before.
 * @module
 */
import assert from "node:assert/strict";
import { eventually, inScene, isReadyToRun, openAll } from "./harness.ts";

/** One request on a connection of its own, which ends with the answer: its body. */
async function ask(port: number, path: string): Promise<string> {
  using conn = await Deno.connect({ hostname: "127.0.0.1", port });
  const request = `GET ${path} HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n`;
  await conn.write(new TextEncoder().encode(request));
  const text = await new Response(conn.readable).text();
  return text.slice(text.indexOf("\r\n\r\n") + 4);
}

Deno.test({
  name: "connector and agent begin anew in the same process while no flow is open, and serve again",
  ignore: !isReadyToRun() || Deno.build.os !== "linux",
  fn: () =>
    inScene(async (scene) => {
      const service = Deno.serve(
        { hostname: "127.0.0.1", port: 0, onListen() {} },
        async (request) => {
          if (new URL(request.url).pathname === "/slow") {
            await new Promise((resolve) => setTimeout(resolve, 3_000));
          }
          return new Response("hello");
        },
      );
      scene.atEnd(() => service.shutdown());
      const { web } = await openAll(scene, { web: service.addr.port });
      const served = (path: string) =>
        eventually(`an answer to ${path}`, async () =>
          await ask(web!, path) === "hello" || undefined);
      // Three times as long as they have to be idle: while it is open nobody begins anew.
      await served("/slow");
      const roles = scene.processes.filter(({ title }) =>
        title !== "relay"
      );
      for (const role of roles) {
        const text = await role.line(/beginning anew/);
        assert.match(text, /reason=.*has grown by \d+ MiB and nobody uses it/);
        await eventually(
          `${role.title} being ready again`,
          () => role.output().match(/ ready: /g)!.length > 1 || undefined,
        );
        const state = scene.path(role.title);
        const { pid } = await eventually("its status", () => scene.status(state));
        assert.equal(pid, role.pid);
      }
      await served("/");
      for (const role of roles) assert.equal(role.ended, false);
    }, { onlyEnv: { ...Deno.env.toObject(), POSTERN_RENEW_MIB: "0" } }),
});
