import { deepEqual, equal, ok, throws } from "node:assert/strict";
import fc from "fast-check";
import { UserError } from "../../src/core/mod.ts";
import { decodeInvite, encodeInvite, type Invite, parseInvite } from "../../src/identity/invite.ts";
import type { Name } from "../../src/identity/mod.ts";

const name = fc.stringMatching(/^[a-z0-9-]{1,63}$/) as fc.Arbitrary<Name>;
const pin = fc.stringMatching(/^[A-Za-z0-9_-]{43}$/);
const invites: fc.Arbitrary<Invite> = fc.record({
  kind: fc.constantFrom("connector", "agent"),
  name,
  relays: fc.array(
    fc.record({
      host: fc.constantFrom("relay.example.org", "198.51.100.10", "2001:db8::1"),
      port: fc.integer({ min: 0, max: 65535 }),
    }),
    { minLength: 1, maxLength: 16 },
  ),
  services: fc.array(name, { maxLength: 20 }),
  secret: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Uint8Array.from(bytes)),
  expires: fc.integer({ min: 0, max: 2 ** 48 }),
  pins: fc.array(fc.record({ name, pin }), { maxLength: 5 }),
  ca: fc.uint8Array({ maxLength: 600 }).map((bytes) => Uint8Array.from(bytes)),
}, { noNullPrototype: true });

const SAMPLE: Invite = {
  kind: "agent",
  name: "alice" as Name,
  relays: [{ host: "relay.example.org", port: 4433 }],
  services: ["web" as Name],
  secret: new Uint8Array(16).fill(7),
  expires: 1_800_000_000_000,
  pins: [],
  ca: new Uint8Array(400).fill(9),
};

Deno.test("decodeInvite() reads encodeInvite() back, white space or not", () => {
  fc.assert(fc.property(invites, (invite) => {
    const token = encodeInvite(invite);
    deepEqual(decodeInvite(token), invite);
    deepEqual(decodeInvite(` ${token.replace(/.{60}/g, "$&\r\n ")}\n`), invite);
  }));
});

Deno.test("decodeInvite() gives a value or a typed refusal for any text", () => {
  const refusals = ["not-a-token", "newer", "cut", "garbled"];
  const body = fc.stringMatching(/^[\w-]{0,200}$/);
  fc.assert(
    fc.property(fc.oneof(fc.string(), body.map((text) => `postern1_${text}`)), (text) => {
      const result = decodeInvite(text);
      ok(typeof result === "object" || refusals.includes(result));
    }),
    { numRuns: 2000 },
  );
});

Deno.test("decodeInvite() tells a token cut anywhere from a garbled one", () => {
  const token = encodeInvite(SAMPLE);
  for (let length = 1; length < token.length; length++) {
    equal(decodeInvite(token.slice(0, length)), "cut", `cut at ${length}`);
  }
  equal(decodeInvite(token + "AAAA"), "garbled");
});

Deno.test("decodeInvite() finds any changed character", () => {
  const token = encodeInvite(SAMPLE);
  fc.assert(
    fc.property(
      fc.integer({ min: 9, max: token.length - 1 }),
      fc.stringMatching(/^[\w-]$/),
      (at, letter) => {
        fc.pre(token[at] !== letter);
        ok(typeof decodeInvite(token.slice(0, at) + letter + token.slice(at + 1)) === "string");
      },
    ),
  );
});

Deno.test("parseInvite() says what is wrong and what to do, and never shows the token", () => {
  const token = encodeInvite(SAMPLE);
  const cases: [string, RegExp][] = [
    ["", /is no token/],
    ["hello", /is no token/],
    ["x".repeat(1_000_000), /is no token/],
    [token.replace("postern1_", "postern2_"), /made by a newer version/],
    [token.slice(0, -20), /is cut short/],
    [token.slice(0, 100) + "AAAA" + token.slice(104), /is garbled/],
    [token.replace("_", "_\0"), /is garbled/],
  ];
  for (const [text, message] of cases) {
    throws(() => parseInvite(text), (error) => {
      ok(error instanceof UserError && error.next);
      ok(message.test(error.message), error.message);
      ok(!`${error.message}${error.next}`.includes(token.slice(20, 60)));
      return true;
    });
  }
});

Deno.test("encodeInvite() refuses more than a token may hold", () => {
  throws(() => encodeInvite({ ...SAMPLE, relays: [] }), RangeError);
  throws(() => encodeInvite({ ...SAMPLE, services: Array(257).fill("web") }), RangeError);
});

Deno.test("encodeInvite() makes the largest invite short enough to be read", () => {
  const names = Array.from({ length: 256 }, (_, i) => String(i).padStart(63, "x") as Name);
  const largest: Invite = {
    ...SAMPLE,
    services: names,
    relays: Array(16).fill({ host: `${"a".repeat(50)}.`.repeat(4) + "example", port: 65535 }),
    pins: names.slice(0, 64).map((name) => ({ name, pin: "p".repeat(43) })),
    ca: new Uint8Array(1000),
  };
  const result = decodeInvite(encodeInvite(largest));
  ok(typeof result === "object", String(result));
});
