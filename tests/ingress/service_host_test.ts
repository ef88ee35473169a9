import assert from "node:assert/strict";
import fc from "fast-check";
import { serviceOfHost } from "../../src/ingress/service_host.ts";

Deno.test("serviceOfHost() reads service names in any case, with or without the final dot", () => {
  for (const host of ["web.postern", "WEB.Postern", "web.postern."]) {
    assert.deepEqual(serviceOfHost(host), { service: "web" });
  }
  assert.deepEqual(serviceOfHost("a-1.postern"), { service: "a-1" });
  assert.deepEqual(serviceOfHost(`${"x".repeat(63)}.postern`), { service: "x".repeat(63) });
});

Deno.test("serviceOfHost() refuses everything else", () => {
  const others = [
    "",
    ".",
    "postern",
    ".postern",
    "web",
    "web.postern..",
    "a.b.postern",
    "web.postern.example.com",
    "example.com",
    "127.0.0.1",
    "::1",
    "2001:db8::1",
    "localhost",
    "web_1.postern",
    "../web.postern",
    "web.postern\0",
    "web.postern\n",
    `${"x".repeat(64)}.postern`,
    "wéb.postern",
    "web.postern:80",
    // Turns into "k" in lower case: must not slip into a name.
    "wi\u212Ai.postern\u212A",
  ];
  for (const host of others) assert.ok("refused" in serviceOfHost(host), host);
  assert.deepEqual(serviceOfHost("10.0.0.1"), {
    refused:
      'Cannot open "10.0.0.1" as it is an address, and this proxy leads to services only: ask for NAME.postern',
  });
  assert.deepEqual(serviceOfHost("exam\x1bple.com"), {
    refused:
      'Cannot open "exam?ple.com" as this proxy leads to services only: ask for NAME.postern',
  });
});

Deno.test("serviceOfHost() takes any text, and gives nothing but service names", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    for (const host of [text, `${text}.postern`]) {
      const named = serviceOfHost(host);
      if ("service" in named) assert.match(named.service, /^[a-z0-9-]{1,63}$/);
    }
  }));
});
