import { deepEqual, equal, ok, throws } from "node:assert/strict";
import fc from "fast-check";
import { changedKeyError, MAX_PINS, PinTable } from "../../src/identity/pins.ts";
import type { Name } from "../../src/identity/mod.ts";

const A = "a".repeat(43);
const B = "b".repeat(43);
const home = (pin: string) => ({ kind: "connector" as const, name: "home" as Name, pin });

Deno.test("PinTable.check() says new, then known, then changed", () => {
  const table = new PinTable();
  equal(table.check(home(A)), "new");
  ok(table.remember(home(A), 0));
  equal(table.check(home(A)), "known");
  equal(table.check(home(B)), "changed");
  equal(table.check({ ...home(B), kind: "agent" }), "new");
});

Deno.test("PinTable.remember() never replaces a known key", () => {
  const table = new PinTable();
  table.remember(home(A), 0);
  equal(table.remember(home(B), 1), false);
  equal(table.check(home(A)), "known");
  ok(table.forget(home(A)));
  ok(table.remember(home(B), 1));
  equal(table.check(home(A)), "changed");
});

Deno.test("PinTable.remember() refuses at the bound and forgets nobody", () => {
  const table = new PinTable();
  for (let i = 0; i < MAX_PINS; i++) {
    ok(table.remember({ kind: "agent", name: `a${i}` as Name, pin: A }, 0));
  }
  equal(table.remember(home(A), 0), false);
  equal(table.check({ kind: "agent", name: "a0" as Name, pin: B }), "changed");
  equal(PinTable.parse(table.format()).size, MAX_PINS);
});

Deno.test("PinTable.parse() reads format() back", () => {
  const entry = fc.record({
    kind: fc.constantFrom("connector" as const, "agent" as const),
    name: fc.stringMatching(/^[a-z0-9-]{1,63}$/) as fc.Arbitrary<Name>,
    pin: fc.stringMatching(/^[A-Za-z0-9_-]{43}$/),
    since: fc.integer({ min: 0, max: 4e12 }),
  });
  fc.assert(fc.property(fc.array(entry), (entries) => {
    const table = new PinTable();
    for (const { since, ...peer } of entries) table.remember(peer, since);
    deepEqual(PinTable.parse(table.format()).entries(), table.entries());
  }));
});

Deno.test("PinTable.parse() gives a table or names the wrong line, for any text", () => {
  fc.assert(fc.property(fc.string(), (text) => {
    try {
      PinTable.parse(text);
    } catch (error) {
      ok(error instanceof SyntaxError && /^(line \d+ is |its last line)/.test(error.message));
    }
  }));
  throws(
    () => PinTable.parse(`agent a ${A} 2026-01-01T00:00:00Z\nagent a ${B} 2026-01-01T00:00:00Z`),
    /^SyntaxError: line 2 is a second key for agent "a"/,
  );
});

Deno.test("PinTable.parse() takes no part for the whole, wherever it was cut", () => {
  const table = new PinTable();
  for (const name of ["a", "b", "c"]) table.remember({ ...home(A), name: name as Name }, 0);
  const text = table.format();
  // The last line break alone says nothing.
  for (let length = 0; length < text.length - 1; length++) {
    throws(() => PinTable.parse(text.slice(0, length)), SyntaxError);
  }
});

Deno.test("changedKeyError() says what to do if the change is wanted", () => {
  const error = changedKeyError(home(B), { state: "/s" });
  ok(/connector "home" as its key has changed/.test(error.message));
  ok(error.next?.includes("postern forget --state /s connector home"));
  const spaced = changedKeyError(home(B), { state: "/my state" });
  ok(spaced.next?.includes('forget --state "/my state" connector home'));
});
