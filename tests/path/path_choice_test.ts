import assert from "node:assert/strict";
import fc from "fast-check";
import { addressOf } from "../../src/core/address.ts";
import { type CandidateKind, choosePath, type PathOption, tierOf } from "../../src/path/mod.ts";

function option(
  host: string,
  rtt: number,
  extra: { kind?: CandidateKind; heldUntil?: number } = {},
): PathOption {
  const { kind = "observed", ...rest } = extra;
  return { path: { socket: 0, remote: addressOf(host, 5) }, kind, rtt, ...rest };
}

const v4 = option("198.51.100.1", 40);
const v6 = option("2001:db8::1", 41, { kind: "host" });
const lan = option("192.168.1.9", 1, { kind: "host" });

function chosen(options: PathOption[], current?: PathOption, now = 0): string {
  const choice = choosePath(options, { current: current?.path, now });
  return choice.use === "relayed" ? "relayed" : choice.option.path.remote.host;
}

Deno.test("tierOf() does put private host addresses first, and not observed ones", () => {
  assert.equal(tierOf(lan), 0);
  assert.equal(tierOf(option("fd00::1", 1, { kind: "host" })), 0);
  assert.equal(tierOf(option("192.168.1.9", 1, { kind: "observed" })), 1);
  assert.equal(tierOf(v6), 1);
  assert.equal(tierOf({ ...v6, onLink: true }), 0);
});

Deno.test("choosePath() does stay relayed with nothing proven or everything held", () => {
  assert.equal(chosen([]), "relayed");
  assert.equal(chosen([option("198.51.100.1", 1, { heldUntil: 50 })], undefined, 10), "relayed");
  assert.equal(
    chosen([option("198.51.100.1", 1, { heldUntil: 50 })], undefined, 50),
    "198.51.100.1",
  );
});

Deno.test("choosePath() does take the better tier at once, then the round trip", () => {
  assert.equal(chosen([v4, v6, lan], v4), "192.168.1.9");
  assert.equal(chosen([v4, v6]), "2001:db8::1");
  assert.equal(chosen([v4, option("2001:db8::1", 44)]), "198.51.100.1");
});

Deno.test("choosePath() does keep the path in use unless another is enough better", () => {
  assert.equal(chosen([v4, option("198.51.100.2", 36)], v4), "198.51.100.1");
  assert.equal(chosen([v4, option("198.51.100.2", 31)], v4), "198.51.100.1");
  assert.equal(chosen([v4, option("198.51.100.2", 29)], v4), "198.51.100.2");
  const quick = option("198.51.100.1", 4);
  assert.equal(chosen([quick, option("198.51.100.2", 1)], quick), "198.51.100.1");
});

Deno.test("choosePath() does never go back and forth between the same options", () => {
  const options = fc.array(
    fc.record({ host: fc.ipV4(), rtt: fc.integer({ min: 1, max: 500 }) })
      .map(({ host, rtt }) => option(host, rtt)),
    { minLength: 1, maxLength: 8 },
  );
  fc.assert(fc.property(options, (list) => {
    const first = choosePath(list, { current: undefined, now: 0 });
    assert.equal(first.use, "direct");
    if (first.use !== "direct") return;
    const again = choosePath(list, { current: first.option.path, now: 0 });
    assert.equal(again.use === "direct" && again.option.path, first.option.path);
  }));
});
