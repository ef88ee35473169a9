import assert from "node:assert/strict";
import { addressOf } from "../../src/core/address.ts";
import { classifyMapping } from "../../src/qad/nat_behaviour.ts";

const one = addressOf("203.0.113.1", 1);
const otherPort = addressOf("203.0.113.1", 2);
const otherHost = addressOf("203.0.113.2", 1);
const a = addressOf("198.51.100.1", 1000);
const b = addressOf("198.51.100.1", 1001);

Deno.test("classifyMapping() does say nothing from one observation, or from two of one target", () => {
  assert.equal(classifyMapping([]), undefined);
  assert.equal(classifyMapping([{ target: one, seen: a }]), undefined);
  assert.equal(classifyMapping([{ target: one, seen: a }, { target: one, seen: b }]), undefined);
});

Deno.test("classifyMapping() does tell RFC 4787's three behaviours apart", () => {
  assert.equal(
    classifyMapping([{ target: one, seen: a }, { target: otherPort, seen: a }]),
    "endpoint-independent",
  );
  assert.equal(
    classifyMapping([{ target: one, seen: a }, { target: otherPort, seen: b }]),
    "address-and-port-dependent",
  );
  assert.equal(
    classifyMapping([
      { target: one, seen: a },
      { target: otherPort, seen: a },
      { target: otherHost, seen: b },
    ]),
    "address-dependent",
  );
});
