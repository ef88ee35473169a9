import assert from "node:assert/strict";
import type { NetcheckFamily, NetcheckReport } from "../../src/roles/asks.ts";
import { netcheckAdvice } from "../../src/roles/netcheck_advice.ts";

const NONE: NetcheckFamily = {
  route: false,
  local: [],
  observed: null,
  udp: null,
  mapping: null,
  filtering: null,
  pathMtu: null,
};
const OPEN: NetcheckFamily = {
  route: true,
  local: ["192.168.1.2"],
  observed: "203.0.113.5:6000",
  udp: true,
  mapping: "endpoint-independent",
  filtering: "address-and-port-dependent",
  pathMtu: 1_472,
};

function advise(
  report: Partial<Omit<NetcheckReport, "advice">>,
  facts: { noDirect?: boolean; relayReason?: string } = {},
): string[] {
  const relay = { address: "203.0.113.1:4433", state: "connected", rttMs: 20 };
  return netcheckAdvice({ relay, v4: NONE, v6: NONE, ...report }, {
    noDirect: false,
    p2pPort: 6_000,
    relayReason: null,
    ...facts,
  });
}

/** What is wanted, as pieces in order; one for each line. */
function says(advice: string[], ...wanted: RegExp[]) {
  assert.equal(advice.length, wanted.length, advice.join("\n"));
  for (const [i, pattern] of wanted.entries()) assert.match(advice[i]!, pattern);
}

Deno.test("netcheckAdvice() does say what each network means", () => {
  says(advise({ v4: OPEN }), /^No IPv6 here/, /nearly every other end/);
  says(
    advise({ v4: { ...OPEN, mapping: "address-and-port-dependent" } }),
    /^No IPv6 here/,
    /^IPv4: the NAT maps per destination.*port 6000/,
    /others stay relayed/,
  );
  const v6 = { ...OPEN, mapping: "none" } as const;
  says(
    advise({ v4: { ...OPEN, mapping: "address-and-port-dependent" }, v6 }),
    /^IPv6: no NAT, but a firewall/,
    /^IPv4: the NAT maps per destination/,
    /nearly every other end/,
  );
  says(
    advise({ v4: OPEN, v6: { ...OPEN, udp: false, mapping: null } }),
    /^IPv6: .* not used/,
    /nearly every/,
  );
  says(
    advise({ v4: { ...OPEN, pathMtu: 1_252 } }),
    /^No IPv6/,
    /more than 1252 bytes/,
    /nearly every/,
  );
});

Deno.test("netcheckAdvice() does say why there is nothing to say about direct paths", () => {
  const blocked = { ...OPEN, udp: false, mapping: null, filtering: null, pathMtu: null };
  says(advise({ v4: blocked }), /firewall.* from port 6000 .*--p2p-port/);
  const relay = { address: null, state: "waiting", rttMs: null };
  says(advise({ relay }, { relayReason: "timed out" }), /^The relay is out of reach: timed out/);
  says(
    advise({ v4: OPEN }, { noDirect: true }),
    /--no-direct/,
    /^No IPv6/,
    /nearly every/,
  );
});
