/**
 * The real program in every network of the table: does its tunnel end on the path that it must?
 *
 * A few rows run everywhere; all of them where `CI` is set or `POSTERN_LAB=all`. `POSTERN_LAB=TEXT` runs the rows
 * whose name contains that text.
 * @module
 */
import assert from "node:assert/strict";
import type { ClientStatus } from "../../src/roles/status.ts";
import { startCapture } from "./capture.ts";
import { Lab } from "./lab.ts";
import { PosternInLab, type TunnelPath } from "./postern_in_lab.ts";
import { findCommand, skipLab } from "./requirements.ts";
import { type Scenario, SCENARIOS } from "./scenarios.ts";
import { WEB_TEXT } from "./web_service.ts";

/** A tunnel that has not gone direct after that long, with tries all the while, stays relayed. */
const DIRECT_WITHIN_MS = 10_000;
/** A tunnel that must not go direct is watched for that long. */
const WATCHED_MS = 4_000;

const wanted = Deno.env.get("POSTERN_LAB") ?? (Deno.env.get("CI") ? "all" : "");
const isWanted = ({ name, quick }: Scenario) =>
  wanted === "all" || (wanted === "" ? quick === true : name.includes(wanted));
const ignore = skipLab("tests/lab/paths_test.ts") || findCommand("curl") === undefined;

const results: { network: string; expected: string; found: string; ms: string; why: string }[] = [];

/** Fetches until it works or the time is over; UDP is lossy here, TCP through it is not. */
async function fetchText(postern: PosternInLab): Promise<string> {
  const { code, stdout, stderr } = await postern.curl("/", { withinS: 15 });
  return code === 0 ? stdout : `curl: ${stderr.trim()}`;
}

async function settle(postern: PosternInLab, expected: TunnelPath) {
  const until = Date.now() + (expected === "direct" ? DIRECT_WITHIN_MS : WATCHED_MS);
  for (;;) {
    const now = await postern.path();
    if (Date.now() > until || (expected === "direct" && now.path === "direct")) return now;
    if (expected === "relayed" && now.path === "direct") return now;
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}

/** Where UDP is blocked there is no tunnel; everything else goes on, and the blocked side knows that it waits. */
async function checkUnreachable(postern: PosternInLab, { name, lab }: Scenario): Promise<void> {
  const blocked = lab.a === "udp-blocked" ? "agent" : "connector";
  await postern.process(blocked === "agent" ? "connector" : "agent").ready();
  await new Promise((resolve) => setTimeout(resolve, WATCHED_MS));
  const { code } = await postern.curl("/", { withinS: 5 });
  const { relay, name: identity } = await postern.status(blocked) as ClientStatus;
  const why = relay.reason ?? "";
  results.push({
    network: name,
    expected: "none",
    found: code === 0 ? "some" : "none",
    ms: "",
    why,
  });
  assert.notEqual(code, 0);
  assert.ok(relay.state === "connecting" || relay.state === "waiting", relay.state);
  // It could join, as that is TCP.
  assert.equal(identity, blocked === "agent" ? "alice" : "home");
}

for (const scenario of SCENARIOS) {
  const { expected, flags = [], why: reason } = scenario;
  Deno.test({
    name: `postern ends on the right path: ${scenario.name}: ${expected}`,
    ignore: ignore || !isWanted(scenario),
    async fn() {
      await using lab = await Lab.create(scenario.lab);
      await using postern = await PosternInLab.start(lab, {
        wait: expected !== "none",
        flags: { agent: flags, connector: flags },
      });
      try {
        if (expected === "none") return await checkUnreachable(postern, scenario);
        assert.equal(await fetchText(postern), WEB_TEXT);
        const { path, status } = await settle(postern, expected);
        const tunnel = status.tunnels[0];
        const why = tunnel?.whyRelayed ?? tunnel?.remote ?? "";
        const ms = `rtt ${tunnel?.rttMs ?? "?"}, direct after ${tunnel?.directAfterMs ?? "-"}`;
        results.push({ network: scenario.name, expected, found: path, ms, why });
        assert.equal(path, expected, why);
        if (reason) assert.match(why, reason);
        if (path === "direct" && scenario.family !== undefined) {
          assert.equal(
            tunnel?.remote?.startsWith("["),
            scenario.family === 6,
            tunnel?.remote ?? "",
          );
        }
        // Which path ever: it works on it, with more than fits one packet.
        const { stdout } = await postern.curl("/bytes/300000", {
          withinS: 60,
          args: ["-o", "/dev/null", "-w", "%{size_download}"],
        });
        assert.equal(stdout, "300000");
      } catch (error) {
        console.error(postern.logs());
        throw error;
      }
    },
  });
}

Deno.test({
  name: "postern shows nothing of the service's text at the relay, and carries it with --no-direct",
  ignore,
  async fn() {
    await using lab = await Lab.create({ a: "none", b: "none", v6: "open" });
    const capture = await startCapture(lab, "relay");
    const flags = { agent: ["--no-direct"], connector: ["--no-direct"] };
    await using postern = await PosternInLab.start(lab, { flags });
    assert.equal(await fetchText(postern), WEB_TEXT);
    const { stdout } = await postern.curl("/bytes/3000000", {
      args: ["-o", "/dev/null", "-w", "%{size_download}"],
    });
    assert.equal(stdout, "3000000");
    assert.equal((await postern.path()).path, "relayed");
    const captured = await capture.stop();
    assert.equal(captured.truncated, false);
    // All of it went through, there and back, and none of it could be read.
    assert.ok(captured.bytes > 2 * 3_000_000, `${captured.bytes} bytes captured`);
    for (const plain of [WEB_TEXT, "GET /", "HTTP/1.1", "user-agent"]) {
      assert.equal(captured.has(plain), false, plain);
    }
  },
});

Deno.test.afterAll(() => {
  if (results.length > 0) console.table(results);
});
