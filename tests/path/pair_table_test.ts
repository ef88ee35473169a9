import assert from "node:assert/strict";
import { addressOf } from "../../src/core/address.ts";
import type { Candidate } from "../../src/path/mod.ts";
import { interleaveFamilies, MAX_PAIRS, p2pPath, PairTable } from "../../src/path/pair_table.ts";

const host = (address: string): Candidate => ({ kind: "host", address: addressOf(address, 1) });
const observed = (address: string): Candidate => ({ ...host(address), kind: "observed" });

Deno.test("interleaveFamilies() does take families in turns, hosts before observed", () => {
  const order = interleaveFamilies([
    observed("198.51.100.1"),
    host("10.0.0.1"),
    observed("2001:db8::9"),
    host("2001:db8::1"),
    host("10.0.0.2"),
  ]);
  assert.deepEqual(order.map(({ address }) => address.host), [
    "2001:db8::1",
    "10.0.0.1",
    "2001:db8::9",
    "10.0.0.2",
    "198.51.100.1",
  ]);
});

Deno.test("PairTable.add() does let old peer-reflexive pairs give way, and nothing else", () => {
  const table = new PairTable();
  for (let i = 0; i < MAX_PAIRS; i++) {
    assert.ok(
      table.add(p2pPath(addressOf("10.0.0.1", i + 1)), i === 3 ? "peer-reflexive" : "host"),
    );
  }
  const late = p2pPath(addressOf("10.0.0.2", 1));
  assert.ok(table.add(late, "host"));
  assert.equal(table.get(p2pPath(addressOf("10.0.0.1", 4))), undefined);
  assert.equal(table.add(p2pPath(addressOf("10.0.0.3", 1)), "peer-reflexive"), undefined);
  assert.equal([...table].length, MAX_PAIRS);
});

Deno.test("PairTable.add() does learn the better kind of a known address", () => {
  const table = new PairTable();
  const path = p2pPath(addressOf("10.0.0.1", 1));
  table.add(path, "peer-reflexive");
  assert.equal(table.add(path, "host")?.kind, "host");
  assert.equal(table.add(path, "peer-reflexive")?.kind, "host");
});
