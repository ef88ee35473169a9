import assert from "node:assert/strict";
import { describePath, describeReturn, watchPath } from "../../../src/roles/demo/path_words.ts";
import type { ClientStatus, TunnelStatus } from "../../../src/roles/status.ts";

const RELAYED = {
  path: "relayed",
  remote: "127.0.0.1:4433",
  whyRelayed: null,
  earlyData: "none",
  openedMs: 40,
  directAfterMs: null,
} as TunnelStatus;
const DIRECT = {
  ...RELAYED,
  path: "direct",
  remote: "[2001:db8::1]:51000",
  directAfterMs: 23.4,
  earlyData: "accepted",
} as TunnelStatus;
const SIGNAL = new AbortController().signal;

function statusWith(...tunnels: TunnelStatus[]): Promise<ClientStatus> {
  return Promise.resolve({ tunnels } as ClientStatus);
}

Deno.test("describePath() says what is so and nothing else", () => {
  const free = { noDirect: false };
  assert.deepEqual(describePath(DIRECT, free), {
    result: "in use, 23 ms after the tunnel was asked for",
    detail: "to [2001:db8::1]:51000; the relay is no longer on the way",
  });
  assert.deepEqual(describePath(RELAYED, free), {
    result: "relayed",
    detail: "it did not move to a direct path while the demo waited",
  });
  assert.deepEqual(describePath({ ...RELAYED, whyRelayed: "no route" }, free), {
    result: "relayed",
    detail: "why: no route",
  });
  assert.match(describePath(RELAYED, { noDirect: true }).result, /as asked for/);
  assert.throws(() => describePath(undefined, free), /no tunnel/);
});

Deno.test("watchPath() does wait for a direct path, but not where none is wanted", async () => {
  const answers = [statusWith(), statusWith(RELAYED), statusWith(DIRECT)];
  const look = () => answers.shift() ?? statusWith(DIRECT);
  assert.equal(await watchPath(look, { noDirect: false, signal: SIGNAL }), DIRECT);
  assert.equal(answers.length, 0);
  const relayed = () => statusWith(RELAYED);
  assert.equal(await watchPath(relayed, { noDirect: true, signal: SIGNAL }), RELAYED);
});

Deno.test("describeReturn() names early data only where it was accepted", () => {
  const status = { relay: { earlyData: "accepted", connectMs: 5.04 } } as ClientStatus;
  assert.deepEqual(describeReturn(status, RELAYED), [
    "relay: first bytes in its first flight (0-RTT accepted), 5.0 ms",
    "tunnel: a handshake came first (no 0-RTT), 40 ms",
  ]);
  assert.deepEqual(describeReturn(undefined, undefined), []);
});
