import assert from "node:assert/strict";
import { formatBytes, formatMillis, formatSeconds } from "../../src/cli/format.ts";
import { renderStatus } from "../../src/cli/status_screen.ts";
import { createPaint } from "../../src/cli/terminal.ts";
import { renderNetcheck } from "../../src/cli/commands/netcheck.ts";
import { AGENT, RELAY } from "./samples.ts";
import { renderPing, renderPingSummary } from "../../src/cli/commands/ping.ts";

const PLAIN = createPaint(false);

Deno.test("renderStatus() does show an agent", () => {
  assert.equal(
    renderStatus(AGENT, PLAIN),
    `agent alice  0.1.0, up 1 h 2 min, process 7
relay     connected  198.51.100.10:4433  rtt 40.1 ms  connected in 41.0 ms  early data accepted
sockets   relay [::]:51000  seen as 198.51.100.21:51000
          p2p   [::]:51001  not seen by the relay yet
services  web
open here web=127.0.0.1:9000
key       certificate until 2026-01-08T00:00:00.000Z
tunnels
  home  direct  [2001:db8:22::2]:51003  rtt 40.3 ms  packets of 1452 bytes  2 flows  in 1.0 KiB  out 2.0 KiB
    opened in 82.0 ms, direct after 95.0 ms, early data accepted, 1 path change, for web
    web  tcp  127.0.0.1:50000  1 min 1 s  in 10 B  out 20 B  held up by the application
`,
  );
});

Deno.test("renderStatus() does show why nothing works", () => {
  const text = renderStatus({
    ...AGENT,
    name: null,
    relay: {
      state: "waiting",
      address: null,
      rttMs: null,
      earlyData: null,
      connectMs: null,
      reason: "nobody answers",
      retryInMs: 2500,
    },
    services: [],
    endpoints: [],
    tunnels: [{
      ...AGENT.tunnels[0]!,
      path: "relayed",
      whyRelayed: "IPv4: both NATs map per destination",
      rttMs: null,
      mtu: null,
      openedMs: null,
      directAfterMs: null,
      earlyData: null,
      remote: null,
      flowList: [],
    }],
  }, PLAIN);
  assert.match(text, /waiting {2}next try in 3 s {2}nobody answers/);
  assert.match(text, /none granted/);
  assert.match(text, /relayed because: IPv4: both NATs map per destination/);
  assert.doesNotMatch(text, /null|undefined|NaN/);
});

Deno.test("renderStatus() does show a relay", () => {
  const text = renderStatus(RELAY, PLAIN);
  assert.match(text, /^relay relay {2}0\.1\.0, up 5 s/);
  assert.match(text, /forwarded 1\.0 MiB in 1000 packets/);
  assert.match(text, /dropped {3}2 bad mac\n/);
  assert.match(
    text,
    / {2}connector {2}home {2}198\.51\.100\.22:51002 {2}4 s {2}rtt 20\.0 ms {2}web/,
  );
  assert.match(text, / {2}alice -> home {2}1\.0 MiB forwarded {2}00ff/);
});

Deno.test("renderStatus() does stay bounded, and let no name drive the terminal", () => {
  const clients = Array.from({ length: 5000 }, () => RELAY.clients[0]!);
  const lines = renderStatus({ ...RELAY, clients }, PLAIN).split("\n");
  assert.ok(lines.length < 80);
  assert.ok(lines.some((line) => line.includes("and 4950 more (--json has all)")));
  const nasty = renderStatus({ ...AGENT, name: "a\x1b[2J", services: ["\u202eb\n"] }, PLAIN);
  assert.doesNotMatch(nasty, /[\p{Cf}]|[^\P{Cc}\n]/u);
});

Deno.test("formatBytes(), formatMillis() and formatSeconds() do round as people do", () => {
  for (
    const [bytes, text] of [
      [0, "0 B"],
      [1023, "1023 B"],
      [1024, "1.0 KiB"],
      [1048575, "1.0 MiB"],
      [67108864, "64.0 MiB"],
      [134217728, "128 MiB"],
      [1e18, "888 PiB"],
    ] as const
  ) assert.equal(formatBytes(bytes), text);
  for (
    const [ms, text] of [
      [0.123, "0.12 ms"],
      [40.12, "40.1 ms"],
      [99.99, "100 ms"],
      [999.9, "1.0 s"],
      [2500, "2.5 s"],
    ] as const
  ) assert.equal(formatMillis(ms), text);
  for (
    const [seconds, text] of [
      [0, "0 s"],
      [59.9, "59 s"],
      [60, "1 min"],
      [3725, "1 h 2 min"],
      [90000, "1 d 1 h"],
    ] as const
  ) assert.equal(formatSeconds(seconds), text);
});

Deno.test("renderPing() does show echoes, losses and path changes", () => {
  const remote = "198.51.100.10:4433";
  assert.equal(
    renderPing({ event: "echo", seq: 1, ms: 80.14, path: "relayed", remote }, PLAIN),
    "   1   80.1 ms  relayed  198.51.100.10:4433",
  );
  assert.equal(renderPing({ event: "lost", seq: 2 }, PLAIN), "   2  lost");
  assert.equal(
    renderPing(
      { event: "path", path: "direct", remote: "[::1]:1", afterMs: 95, reason: "validated" },
      PLAIN,
    ),
    "      now direct  [::1]:1  after 95.0 ms  (validated)",
  );
  assert.equal(renderPingSummary([], 3), "0 of 3 came back");
  assert.equal(
    renderPingSummary([30, 10, 20, 40], 1),
    "4 of 5 came back; least 10.0 ms, median 25.0 ms, most 40.0 ms",
  );
});

Deno.test("renderNetcheck() does use RFC 4787's words", () => {
  const family = {
    route: true,
    local: ["10.0.0.2"],
    observed: "198.51.100.21:51001",
    udp: true,
    mapping: "endpoint-independent",
    filtering: "address-and-port-dependent",
    pathMtu: 1472,
  } as const;
  const text = renderNetcheck({
    relay: { address: "198.51.100.10:4433", state: "connected", rttMs: 40 },
    v4: family,
    v6: { ...family, route: false },
    advice: ["direct paths work with most peers"],
  }, PLAIN);
  assert.match(text, /mapping {4}Endpoint-Independent\n/);
  assert.match(text, /filtering {2}Address and Port-Dependent\n/);
  assert.match(text, /IPv6 {2}no route\n/);
  assert.match(text, /- direct paths work with most peers\n/);
});
