/**
 * A browser with the agent's PAC file: `http://web.postern/` is a page like any other, and the rest of the web goes its usual way.
 * @module
 */
import assert from "node:assert/strict";
import { findProgram, freePort, inScene, isReadyToRun, lacks, run, type Scene } from "./harness.ts";

/** A first start with a cold cache, on a machine that does other things too. */
const BROWSER_WITHIN_MS = 60_000;

/** The page's text after its scripts have run. */
async function visit(
  scene: Scene,
  { pac, url }: { pac: string; url: string },
): Promise<string> {
  const profile = await Deno.makeTempDir({ dir: scene.folder, prefix: "chromium-" });
  const { code, stdout, stderr } = await run(findProgram("chromium")!, [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    `--user-data-dir=${profile}`,
    `--proxy-pac-url=${pac}`,
    // Until nothing is loading any more.
    "--virtual-time-budget=5000",
    "--dump-dom",
    url,
  ], { withinMs: BROWSER_WITHIN_MS });
  assert.equal(code, 0, stderr);
  return stdout;
}

Deno.test({
  name: "Chromium with the agent's PAC file loads a page of many parts from a service",
  ignore: !isReadyToRun() || lacks("Chromium with a PAC file", "chromium"),
  fn: () =>
    inScene(async (scene) => {
      const asked: string[] = [];
      const parts = 20;
      const script = `
        Promise.all(Array.from({ length: ${parts} }, (_, i) => fetch("/part/" + i).then((r) => r.text())))
          .then((all) => document.body.textContent = "behind the wall: " + all.join(","));`;
      const server = Deno.serve(
        { hostname: "127.0.0.1", port: 0, onListen: () => {} },
        (request) => {
          const { pathname, host } = new URL(request.url);
          asked.push(`${request.headers.get("host") ?? host}${pathname}`);
          if (pathname.startsWith("/part/")) return new Response(pathname.slice(6));
          return new Response(`<!doctype html><body>not yet<script>${script}</script></body>`, {
            headers: { "content-type": "text/html" },
          });
        },
      );
      scene.atEnd(() => server.shutdown());
      const relay = await scene.startRelay();
      const home = await scene.invite(relay, "connector", "home", ["web", "secret"]);
      const alice = await scene.invite(relay, "agent", "alice", ["web"]);
      const target = `127.0.0.1:${server.addr.port}`;
      const connector = scene.startConnector({
        invite: home,
        services: [`web=${target}`, `secret=${target}`],
      });
      await connector.ready();
      const proxy = `127.0.0.1:${freePort()}`;
      const agent = scene.startAgent({
        invite: alice,
        services: [],
        args: ["--http-proxy", proxy],
      });
      await agent.process.ready();
      const pac = `http://${proxy}/proxy.pac`;

      const page = await visit(scene, { pac, url: "http://web.postern/" });
      const all = Array.from({ length: parts }, (_, i) => i).join(",");
      assert.ok(page.includes(`behind the wall: ${all}`), page);
      assert.ok(asked.includes("web.postern/"), asked.join(" "));

      // What is not granted is an error page of the proxy's, and reaches nobody.
      const before = asked.length;
      const refused = await visit(scene, { pac, url: "http://secret.postern/" });
      assert.ok(!refused.includes("behind the wall"), refused);
      assert.match(refused, /not granted/);
      assert.equal(asked.filter((what) => what.startsWith("secret")).length, 0);
      assert.ok(asked.slice(before).every((what) => what.startsWith("web.postern")));

      // Everything else goes past the agent, straight there.
      const straight = await visit(scene, { pac, url: `http://${target}/` });
      assert.ok(straight.includes(`behind the wall: ${all}`), straight);
      assert.ok(asked.includes(`${target}/`), asked.join(" "));
    }),
});
