import assert from "node:assert/strict";
import {
  decideReceive,
  decideSend,
  type ReceiveFacts,
  REPLAY_VERDICTS,
  type SendFacts,
} from "../../src/zero_rtt/mod.ts";

const TRIES: [Partial<SendFacts>, string][] = [
  [{}, "early"],
  [{ service: "none" }, "early"],
  [{ service: "opted-out" }, "early-without-flow"],
  [{ enabled: false }, "disabled"],
  [{ enabled: false, ticket: "none", clockKnown: false }, "disabled"],
  [{ ticket: "none" }, "no-ticket"],
  [{ ticket: "expired" }, "ticket-expired"],
  [{ clockKnown: false }, "clock-unknown"],
  [{ clockKnown: false, service: "opted-out" }, "clock-unknown"],
];

Deno.test("decideSend() answers as its table says", () => {
  for (const [change, expected] of TRIES) {
    const facts: SendFacts = {
      enabled: true,
      ticket: "good",
      clockKnown: true,
      service: "allows",
      ...change,
    };
    const decision = decideSend(facts);
    const got = decision.send === "wait" ? decision.reason : decision.send;
    assert.equal(got, expected, JSON.stringify(change));
  }
});

/** What {@linkcode decideReceive} must say, said another way: the first line that fits. */
function expected(facts: ReceiveFacts): string {
  if (
    facts.identity === "revoked" || facts.identity === "expired" || facts.identity === "unknown"
  ) {
    return `refuse ${facts.identity}`;
  }
  const early = facts.early && facts.enabled && facts.replay === "accept" &&
    facts.service !== "opted-out";
  if (!facts.early || early) return "now";
  if (!facts.enabled) return "after-handshake disabled";
  if (facts.replay !== "accept") return `after-handshake ${facts.replay ?? "unstamped"}`;
  return "after-handshake service-opted-out";
}

Deno.test("decideReceive() answers as its table says, fact by fact", () => {
  let rows = 0;
  for (const early of [true, false]) {
    for (const enabled of [true, false]) {
      for (const identity of ["good", "unknown", "expired", "revoked"] as const) {
        for (const replay of [...REPLAY_VERDICTS, undefined]) {
          for (const service of ["allows", "opted-out", "none"] as const) {
            const facts: ReceiveFacts = { early, enabled, identity, replay, service };
            const decision = decideReceive(facts);
            const got = decision.act === "now" ? "now" : `${decision.act} ${decision.reason}`;
            assert.equal(got, expected(facts), JSON.stringify(facts));
            rows++;
          }
        }
      }
    }
  }
  assert.equal(rows, 2 * 2 * 4 * 6 * 3);
});
