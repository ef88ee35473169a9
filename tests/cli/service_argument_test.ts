import assert from "node:assert/strict";
import { UsageError } from "../../src/core/mod.ts";
import {
  checkForwards,
  checkTargets,
  readForward,
  readTarget,
} from "../../src/cli/service_argument.ts";

Deno.test("readTarget() does read a service and where it is", () => {
  for (
    const [text, service, protocol, host, port] of [
      ["web=127.0.0.1:8080", "web", "tcp", "127.0.0.1", 8080],
      ["web=tcp://localhost:80", "web", "tcp", "localhost", 80],
      ["web=tcp://localhost:80/", "web", "tcp", "localhost", 80],
      ["dns=udp://[::1]:53", "dns", "udp", "::1", 53],
      ["a-1=10.0.0.1:1", "a-1", "tcp", "10.0.0.1", 1],
    ] as const
  ) assert.deepEqual(readTarget(text), { service, protocol, address: { host, port } }, text);
});

Deno.test("readForward() does take a port alone", () => {
  for (
    const [text, service, protocol, host, port] of [
      ["web=9000", "web", "tcp", "127.0.0.1", 9000],
      ["web=0", "web", "tcp", "127.0.0.1", 0],
      ["web=0.0.0.0:9000", "web", "tcp", "0.0.0.0", 9000],
      ["dns=udp://5353", "dns", "udp", "127.0.0.1", 5353],
      ["dns=udp://[::]:5353", "dns", "udp", "::", 5353],
    ] as const
  ) assert.deepEqual(readForward(text), { service, protocol, address: { host, port } }, text);
});

Deno.test("readTarget() and readForward() do refuse with what would be right", () => {
  for (
    const [read, text, message] of [
      [readTarget, "127.0.0.1:8080", /expected web=127\.0\.0\.1:8080/],
      [readTarget, "web", /expected web=127\.0\.0\.1:8080/],
      [readTarget, "=127.0.0.1:80", /service name as it is empty/],
      [readTarget, "../etc=127.0.0.1:80", /"\." is not allowed/],
      [readTarget, "WEB=127.0.0.1:80", /only a-z, 0-9/],
      [readTarget, "we\0b=127.0.0.1:80", /control character U\+0000/],
      [readTarget, `${"a".repeat(64)}=127.0.0.1:80`, /63 are the most/],
      [readTarget, "web=8080", /expected HOST:PORT/],
      [readTarget, "web=http://127.0.0.1:80", /"http:\/\/".*expected tcp:\/\/ or udp:\/\//],
      [readTarget, "web=127.0.0.1:99999", /above 65535/],
      [readTarget, "web=127.0.0.1:0", /port 0/],
      [readTarget, "web=", /expected HOST:PORT/],
      [readTarget, "web=tcp://127.0.0.1:80/path", /Cannot read/],
      [readForward, "web", /expected web=9000/],
      [readForward, "web=", /expected PORT or HOST:PORT/],
      [readForward, "web=localhost", /expected PORT or HOST:PORT/],
    ] as const
  ) assert.throws(() => read(text), { message }, text);
});

Deno.test("checkTargets() does refuse one service at two places", () => {
  checkTargets([readTarget("a=h:1"), readTarget("b=h:1")]);
  assert.throws(
    () => checkTargets([readTarget("a=h:1"), readTarget("a=[::1]:2")]),
    (error: UsageError) =>
      error instanceof UsageError && error.message === 'Cannot offer "a" twice, at h:1 and [::1]:2',
  );
});

Deno.test("checkForwards() does refuse one port for two services", () => {
  checkForwards([readForward("a=1"), readForward("b=udp://1"), readForward("c=0.0.0.0:1")]);
  checkForwards([readForward("a=0"), readForward("b=0"), readForward("a=9001")]);
  assert.throws(
    () => checkForwards([readForward("a=1"), readForward("b=127.0.0.1:1")]),
    { message: 'Cannot use tcp://127.0.0.1:1 for both "a" and "b"' },
  );
});
