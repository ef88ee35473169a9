import assert from "node:assert/strict";
import { type FamilyFacts, type RelayedFacts, whyRelayed } from "../../src/path/mod.ts";

const none: FamilyFacts = { local: false, remote: false };
const both: FamilyFacts = { local: true, remote: true, observed: true };
const dependent = {
  ownMapping: "address-and-port-dependent",
  peerMapping: "address-and-port-dependent",
} as const;

function why(v4: FamilyFacts, v6: FamilyFacts, extra: Partial<RelayedFacts> = {}): string {
  return whyRelayed({ offered: true, v4, v6, ...extra });
}

Deno.test("whyRelayed() does name each family's reason", () => {
  assert.equal(
    why({ ...both, ...dependent, outcome: "both-dependent" }, none),
    "no IPv6 route; IPv4: both NATs map per destination",
  );
  assert.equal(
    why({ ...both, ...dependent }, { ...none, local: true }),
    "IPv6: the other end has no IPv6 address; IPv4: both NATs map per destination",
  );
  assert.match(why({ ...both, observed: false, outcome: "no-answer" }, none), /P2P port/);
  assert.match(why({ ...both, outcome: "no-answer" }, none), /drops UDP/);
  assert.match(why({ ...both, outcome: "small-only" }, none), /1200 bytes/);
  assert.match(why({ ...both, outcome: "one-way" }, none), /one direction/);
  assert.match(why({ ...both, outcome: "guess-failed" }, none), /no open port/);
  assert.match(why({ ...both, outcome: "guess-off" }, none), /switched off/);
  assert.equal(why(both, both), "IPv6: still trying; IPv4: still trying");
});

Deno.test("whyRelayed() does say first what was asked for or has not come yet", () => {
  assert.match(why(both, both, { noDirect: true }), /switched off here \(--no-direct\)/);
  assert.match(why(both, both, { peerNoDirect: true }), /other end \(--no-direct\)/);
  assert.match(why(both, both, { offered: false }), /has not said/);
});
