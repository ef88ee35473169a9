import assert from "node:assert/strict";
import fc from "fast-check";
import { AskedTable } from "../../src/sockets/asked_table.ts";

Deno.test("AskedTable() makes room for a new peer by forgetting the oldest", () => {
  const table = new AskedTable<string>({ max: 2 });
  for (const peer of ["p", "q", "r"]) table.note(peer, "way");
  assert.equal(table.wayTo("p"), undefined);
  assert.equal(table.wayTo("q"), "way");
  assert.equal(table.size, 2);
  table.note("p", "way");
  assert.equal(table.wayTo("p"), "way");
  assert.equal(table.wayTo("q"), undefined);
});

Deno.test("AskedTable() answers by the way that was last, whatever the order", () => {
  const peer = fc.constantFrom("p", "q", "r");
  const way = fc.constantFrom("a", "b", undefined);
  const step = fc.oneof(
    fc.record({ peer, way }),
    fc.record({ forget: fc.constantFrom("a", "b") }),
  );
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const table = new AskedTable<string>();
    const model = new Map<string, string | undefined>();
    for (const step of steps) {
      if ("forget" in step) {
        table.forget(step.forget);
        for (const [peer, way] of model) if (way === step.forget) model.delete(peer);
      } else {
        table.note(step.peer, step.way);
        model.set(step.peer, step.way);
      }
      for (const peer of ["p", "q", "r"]) assert.equal(table.wayTo(peer), model.get(peer));
    }
  }));
});
