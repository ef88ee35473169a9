import assert from "node:assert/strict";
import { createLogger } from "../../src/core/mod.ts";
import {
  decodePem,
  KnownKeys,
  MAX_PINS,
  openStateFolder,
  parseName,
} from "../../src/identity/mod.ts";
import { distrust, type ExpectedPeer } from "../../src/roles/peer_trust.ts";
import { createTestNetwork, type TestIdentity } from "../helpers/test_network.ts";

const network = await createTestNetwork();

async function withKeys(work: (keys: KnownKeys, judge: Judge) => Promise<void> | void) {
  const path = await Deno.makeTempDir();
  const folder = await openStateFolder(path, { role: "agent", create: true });
  const keys = await KnownKeys.load(folder);
  const logged: string[] = [];
  const log = createLogger((level, message) => logged.push(`${level} ${message}`));
  const judge: Judge = (shown, expected, options = {}) => {
    const certificates = shown ? [decodePem("CERTIFICATE", shown.certPem)!] : [];
    const { networkId = network.networkId, now = Date.now() } = options;
    return distrust(certificates, expected, { networkId, knownKeys: keys, now, log });
  };
  await work(keys, judge);
  await keys.flush();
  await Deno.remove(path, { recursive: true });
}

type Judge = (
  shown: TestIdentity | undefined,
  expected: ExpectedPeer,
  options?: { networkId?: string; now?: number },
) => string | undefined;

const expect = (who: TestIdentity, name = who.name): ExpectedPeer => ({
  kind: "connector",
  name,
  pin: who.pin,
});

Deno.test("distrust() welcomes at first contact, remembers, and welcomes again", () =>
  withKeys(async (keys, judge) => {
    const home = await network.connector("home");
    assert.equal(judge(home, expect(home)), undefined);
    assert.equal(
      keys.check({ kind: "connector", name: parseName("home"), pin: home.pin }),
      "known",
    );
    assert.equal(judge(home, expect(home)), undefined);
  }));

Deno.test("distrust() refuses another name, kind and network, an expired certificate, and none", () =>
  withKeys(async (_keys, judge) => {
    const home = await network.connector("home");
    const agent = await network.agent("home");
    assert.match(judge(undefined, expect(home))!, /shows no certificate of ours/);
    assert.match(judge(home, expect(home, "other"))!, /is for connector "home"/);
    assert.match(judge(agent, { ...expect(home), pin: agent.pin })!, /is for agent "home"/);
    assert.match(judge(home, expect(home), { networkId: "0".repeat(16) })!, /another network/);
    const later = Date.now() + 30 * 86_400_000;
    assert.match(judge(home, expect(home), { now: later })!, /has expired/);
  }));

Deno.test("distrust() names a changed key as such, whether it is shown or only spoken of", () =>
  withKeys(async (_keys, judge) => {
    const home = await network.connector("home");
    const forged = await network.connector("home");
    assert.equal(judge(home, expect(home)), undefined);
    const changed = /its key has changed since it was first seen/;
    assert.match(
      judge(forged, expect(forged))!,
      changed,
      "a forged certificate, and the relay agrees",
    );
    assert.match(
      judge(home, expect(forged))!,
      changed,
      "the relay speaks of a key that is another",
    );
    assert.match(judge(forged, expect(home))!, changed, "the relay speaks true of a false one");
    assert.equal(judge(home, expect(home)), undefined, "the true one is welcome as before");
  }));

Deno.test("distrust() refuses a stranger who is another than the relay speaks of", () =>
  withKeys(async (_keys, judge) => {
    const home = await network.connector("home");
    const forged = await network.connector("home");
    assert.match(judge(forged, expect(home))!, /its key is not the one that the relay knows/);
    assert.equal(judge(home, expect(home)), undefined);
  }));

Deno.test("distrust() takes in no new peers where no more keys can be remembered", () =>
  withKeys(async (keys, judge) => {
    const home = await network.connector("home");
    const old = await network.connector("old");
    assert.equal(judge(old, expect(old)), undefined);
    for (let i = 1; i < MAX_PINS; i++) {
      keys.remember({ kind: "connector", name: parseName(`c${i}`), pin: home.pin }, 0);
    }
    assert.match(judge(home, expect(home))!, /4096 keys are known here, which is the most/);
    assert.equal(judge(old, expect(old)), undefined);
  }));
