import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import * as v from "valibot";
import {
  assembleClientIdentity,
  type ClientIdentityParts,
  loadClientIdentity,
  loadSettings,
  noIdentityError,
  openStateFolder,
  saveClientIdentity,
  saveSettings,
  StateError,
  type StateFolder,
} from "../../src/identity/mod.ts";
import { createTestNetwork, type TestIdentity } from "../helpers/test_network.ts";

async function withFolder(work: (folder: StateFolder) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempDir();
  try {
    await work(await openStateFolder(path, { role: "agent", create: true }));
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

const network = await createTestNetwork();
const parts = (identity: TestIdentity): ClientIdentityParts => ({
  privateKeyPem: identity.keyPem,
  certificatePem: identity.certPem,
  caPem: network.caPem,
  relays: [{ host: "2001:db8::1", port: 4433 }, { host: "relay.example.org", port: 4433 }],
  inviteHash: "hash",
});

Deno.test("loadClientIdentity() reads saveClientIdentity() back", () =>
  withFolder(async (folder) => {
    equal(await loadClientIdentity(folder), undefined);
    const alice = await network.agent("alice");
    const identity = assembleClientIdentity(parts(alice));
    equal(identity.pin, alice.pin);
    equal(identity.relayServerName, network.relay.serverName);
    await saveClientIdentity(folder, identity);
    deepEqual(await loadClientIdentity(folder), identity);
  }));

Deno.test("assembleClientIdentity() refuses parts that do not belong together", async () => {
  const [alice, other] = [await network.agent("alice"), await createTestNetwork()];
  const good = parts(alice);
  for (
    const [bad, message] of [
      [{ caPem: other.caPem }, /not signed by the network's CA/],
      [{ caPem: alice.certPem }, /CA's certificate cannot be read/],
      [{ caPem: "" }, /CA's certificate cannot be read/],
      [{ privateKeyPem: (await network.agent("alice")).keyPem }, /private key is not/],
      [{ privateKeyPem: "garbage" }, /Cannot read a private key/],
      [{ certificatePem: network.relay.certPem }, /is a relay's/],
      [{ certificatePem: network.caPem }, /certificate cannot be read/],
    ] as const
  ) {
    throws(() => assembleClientIdentity({ ...good, ...bad }), (error) => {
      ok(error instanceof SyntaxError && message.test(error.message), String(error));
      return true;
    });
  }
});

Deno.test("loadClientIdentity() refuses a damaged file, says what to do, and leaves it", () =>
  withFolder(async (folder) => {
    const identity = assembleClientIdentity(parts(await network.agent("alice")));
    await saveClientIdentity(folder, identity);
    const whole = (await folder.readText("identity.json"))!;
    const key = whole.indexOf("BEGIN PRIVATE KEY") + 40;
    for (
      const text of [
        "",
        whole.slice(0, 300),
        whole.replace(`"alice"`, `"../../etc"`),
        whole.replace(`"alice"`, `"bob"`),
        whole.slice(0, key) + "AAAAAAAA" + whole.slice(key + 8),
      ]
    ) {
      await folder.write("identity.json", text);
      await rejects(loadClientIdentity(folder), (error) => {
        ok(error instanceof StateError && error.code === "corrupt", String(error));
        ok(error.message.includes("identity.json") && error.next?.includes("invite it again"));
        ok(!error.message.includes("PRIVATE KEY"));
        return true;
      });
      equal(await folder.readText("identity.json"), text);
    }
  }));

Deno.test("loadSettings() reads saveSettings() back, or says to remove the file", () =>
  withFolder(async (folder) => {
    const schema = v.object({ services: v.array(v.string()) });
    equal(await loadSettings(folder, schema), undefined);
    await saveSettings(folder, { services: ["web=127.0.0.1:80"] });
    deepEqual(await loadSettings(folder, schema), { services: ["web=127.0.0.1:80"] });
    await saveSettings(folder, { services: 7 });
    await rejects(
      loadSettings(folder, schema),
      (error) => error instanceof StateError && /Remove it/.test(error.next!),
    );
  }));

Deno.test("noIdentityError() says how to join", () =>
  withFolder((folder) => {
    const error = noIdentityError(folder);
    ok(error.next?.includes("postern invite agent"), error.next);
    return Promise.resolve();
  }));
