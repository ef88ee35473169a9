import { equal, ok, throws } from "node:assert/strict";
import fc from "fast-check";
import {
  IDENTITY_KINDS,
  isName,
  parseName,
  parseServerName,
  serverNameOf,
} from "../../src/identity/mod.ts";

Deno.test("parseName() takes every label of a-z, 0-9 and dash up to 63 characters", () => {
  fc.assert(fc.property(fc.stringMatching(/^[a-z0-9-]{1,63}$/), (text) => {
    equal(parseName(text), text);
    ok(isName(text));
  }));
});

Deno.test("parseName() says what is wrong", () => {
  const wrong: [string, RegExp][] = [
    ["", /^Cannot use "" as a service as it is empty$/],
    ["../etc/passwd", /as "\." is not allowed: expected only a-z, 0-9 and "-"$/],
    ["web\0", /U\+0000 is not allowed/],
    ["Web", /as "W" is not allowed/],
    ["a".repeat(64), /as it has 64 characters, and 63 are the most$/],
    ["a/b", /as "\/" is not allowed/],
    ["naïve", /as "ï" is not allowed/],
    ["web\n", /U\+000A is not allowed/],
  ];
  for (const [text, message] of wrong) {
    throws(() => parseName(text, { what: "service" }), (error) => {
      ok(error instanceof SyntaxError);
      ok(message.test(error.message), error.message);
      ok(!error.message.includes("\0"));
      return true;
    });
    ok(!isName(text));
  }
});

Deno.test("parseName() shows no more than the beginning of a long name", () => {
  throws(() => parseName("x".repeat(1_000_000)), (error) => (error as Error).message.length < 250);
});

Deno.test("parseServerName() reads serverNameOf() back, and nothing else", () => {
  fc.assert(
    fc.property(
      fc.stringMatching(/^[a-z0-9-]{1,63}$/),
      fc.constantFrom(...IDENTITY_KINDS),
      fc.stringMatching(/^[0-9a-f]{16}$/),
      (name, kind, networkId) => {
        const identity = { name: parseName(name), kind, networkId };
        const read = parseServerName(serverNameOf(identity));
        equal(JSON.stringify(read), JSON.stringify(identity));
      },
    ),
  );
  fc.assert(fc.property(fc.string(), (text) => equal(parseServerName(text), undefined)));
  equal(parseServerName("a.relay.0123456789abcdef.postern.invalid, DNS:b"), undefined);
  equal(parseServerName("a.b.relay.0123456789abcdef.postern.invalid"), undefined);
});
