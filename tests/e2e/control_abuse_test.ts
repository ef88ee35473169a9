/**
 * A client with a good certificate that says what it must not: too long, not JSON, of unknown kind, in the wrong order, too
 * much. Each is told why, each is out, and the relay serves the others as if nothing had been.
 * @module
 */
import assert from "node:assert/strict";
import { concatBytes, encodeUtf8 } from "../../src/core/mod.ts";
import {
  createCertificateRequest,
  keyPairOf,
  loadClientIdentity,
  openStateFolder,
  RELAY_NAME,
  serverNameOf,
} from "../../src/identity/mod.ts";
import { clientConfig, HELLO, RawClient } from "./raw_client.ts";
import { freePort } from "./scene.ts";
import { exchange, Stage, startLineEcho } from "./stage.ts";

/** What a client does that it must not, and what the relay answers. */
const ABUSES: Record<string, readonly [(client: RawClient) => void, RegExp]> = {
  "a message of 4 GiB": [
    (client) => client.write(new Uint8Array([0xff, 0xff, 0xff, 0xff, 0x7b])),
    /control message of 4294967295 bytes as 65536 is the most/,
  ],
  "a message of one byte too many": [
    (client) => client.write(new Uint8Array([0, 1, 0, 1])),
    /control message of 65537 bytes/,
  ],
  "no JSON": [(client) => client.writeFrame("{type: hello}"), /not JSON/],
  "an empty message": [(client) => client.write(new Uint8Array(4)), /not JSON/],
  "no UTF-8": [
    (client) =>
      client.write(concatBytes(new Uint8Array([0, 0, 0, 2]), new Uint8Array([0xc3, 0x28]))),
    /not UTF-8/,
  ],
  "a number": [(client) => client.writeFrame("7"), /has no type/],
  "JSON as deep as it is long": [(client) => client.writeFrame("[".repeat(65_000)), /not JSON/],
  "a type that is unknown": [
    (client) => client.say({ type: "open-sesame" }),
    /"open-sesame": known/,
  ],
  "a type out of the language's depths": [
    (client) => client.writeFrame('{"type":"__proto__"}'),
    /type "__proto__": known/,
  ],
  "another version": [
    (client) => client.say({ ...HELLO, version: 2 }),
    /control protocol version 2 as this end speaks version 1/,
  ],
  "hello without a nonce": [
    (client) => client.say({ ...HELLO, nonce: undefined }),
    /"hello" as "nonce" is missing/,
  ],
  "a question before hello": [
    (client) => client.say({ type: "ping", id: 1 }),
    /Cannot take "ping" as hello has not come yet/,
  ],
  "hello twice": [
    (client) => {
      client.hello();
      client.hello();
    },
    /Cannot take "hello" as it has come already/,
  ],
  "what only a connector may say": [
    (client) => {
      client.hello();
      client.say({ type: "register", services: ["web"] });
    },
    /Cannot take "register" as it is for a connector/,
  ],
  "what only the relay may say": [
    (client) => {
      client.hello();
      client.say({ type: "granted", request: 1 });
    },
    /of type "granted": known/,
  ],
  ...Object.fromEntries(
    [["../../etc/passwd", "a path"], ["web\0", "a NUL"], ["w".repeat(64), "64 characters"], [
      "",
      "nothing",
    ]]
      .map(([service, what]) => [`a service name with ${what}`, [
        (client: RawClient) => {
          client.hello();
          const tunnelId = "00112233445566ff";
          client.say({ type: "connect", request: 1, service, tunnelId });
        },
        /"connect" as "service" is not a name of 1 to 63 characters/,
      ]]),
  ),
  "a tunnel id that is none": [
    (client) => {
      client.hello();
      client.say({ type: "connect", request: 1, service: "web", tunnelId: "zz" });
    },
    /"connect" as "tunnelId" is not 16 lower-case hexadecimal digits/,
  ],
  "a certificate request that is rubbish, over and over": [
    (client) => {
      client.hello();
      for (let i = 0; i < 600; i++) client.say({ type: "renew", csr: "rubbish" });
    },
    /more than 64 messages a second/,
  ],
  "a flood": [
    (client) => {
      client.hello();
      for (let i = 0; i < 2_000; i++) client.say({ type: "ping", id: i });
    },
    /more than 64 messages a second/,
  ],
};

Deno.test("a client that says what it must not is told why and sent away; the others notice nothing", async (t) => {
  await using stage = new Stage();
  const relay = await stage.relay().ready();
  const web = startLineEcho(stage);
  const local = freePort();
  await stage.connector({
    invite: await stage.invite("connector", "home"),
    services: { web },
  }).ready();
  await stage.agent({
    invite: await stage.invite("agent", "alice"),
    forwards: { web: local },
  }).ready();
  // A second agent, with an identity that it came to honestly.
  const mallory = await stage.agent({
    state: stage.path("mallory"),
    invite: await stage.invite("agent", "mallory"),
    forwards: { web: freePort() },
  }).ready();
  await mallory.stop();
  const folder = await openStateFolder(stage.path("mallory"), { role: "agent" });
  const identity = (await loadClientIdentity(folder))!;
  const { networkId, caPem, certificatePem: certPem, privateKeyPem: keyPem } = identity;
  const serverName = serverNameOf({ kind: "relay", name: RELAY_NAME, networkId });
  const config = clientConfig({ caPem, certPem, keyPem });

  for (const [what, [abuse, answer]] of Object.entries(ABUSES)) {
    await t.step(what, async () => {
      await using client = new RawClient({ port: stage.port, config, serverName });
      assert.ok(await client.established);
      abuse(client);
      const reason = await client.closed;
      assert.equal(reason.by, "peer", JSON.stringify(reason));
      assert.match(reason.text, answer);
      const last = client.heard.at(-1);
      // Behind a heap of other answers it may be cut off; the close says the same.
      if (client.heard.length < 100) {
        assert.equal(last?.type, "error", JSON.stringify(client.heard.slice(-3)));
        assert.match(String(last["message"]), answer, "the error message came before the end");
      }
      assert.equal(await exchange(local, "hello\n"), "hello\n");
    });
  }
  await t.step("names and services of others are not told", async () => {
    await using client = new RawClient({ port: stage.port, config, serverName });
    assert.ok(await client.established);
    client.hello();
    for (const service of ["ssh", "web"]) {
      const tunnelId = service === "web" ? "00112233445566fe" : "00112233445566ff";
      client.say({ type: "connect", request: 1, service, tunnelId });
    }
    while (client.heard.length < 3) await new Promise((resolve) => setTimeout(resolve, 5));
    const [, ssh, granted] = client.heard;
    assert.deepEqual(ssh, {
      type: "refused",
      request: 1,
      reason: "not-granted",
      message: 'Cannot open flow to "ssh" as agent "mallory" is not granted it',
    });
    assert.equal(granted!.type, "granted");
  });
  await t.step("certificates are not made as fast as they are asked for", async () => {
    await using client = new RawClient({ port: stage.port, config, serverName });
    assert.ok(await client.established);
    client.hello();
    const csr = await createCertificateRequest(keyPairOf(keyPem), { name: identity.name });
    for (let i = 0; i < 50; i++) client.say({ type: "renew", csr });
    while (client.heard.length < 51) await new Promise((resolve) => setTimeout(resolve, 5));
    const given = client.heard.filter(({ certificate }) => typeof certificate === "string");
    assert.equal(given.length, 1);
    assert.match(String(client.heard[1]!["message"]), /more often than every 10 s/);
  });
  await t.step("half a message, and then an end", async () => {
    const client = new RawClient({ port: stage.port, config, serverName });
    assert.ok(await client.established);
    client.write(concatBytes(new Uint8Array([0, 0, 1, 0]), encodeUtf8('{"type":"hel')));
    await client[Symbol.asyncDispose]();
    assert.equal(await exchange(local, "hello\n"), "hello\n");
  });
  assert.equal(relay.ended, false);
});
