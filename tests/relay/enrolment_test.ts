import { deepEqual, equal, notEqual, ok, rejects } from "node:assert/strict";
import {
  changedKeyError,
  createCertificateRequest,
  createKeyPair,
  decodePem,
  encodePem,
  enrol,
  EnrolmentError,
  issueCertificate,
  keyPairOf,
  loadClientIdentity,
  type Name,
  parseInvite,
  parsePeerCertificate,
  PinTable,
  renew,
  saveClientIdentity,
  StateError,
} from "../../src/identity/mod.ts";
import { EnrolmentLab } from "../helpers/enrolment_lab.ts";
import { createTestNetwork } from "../helpers/test_network.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

function refusedWith(code: string, retryable: boolean) {
  return (error: unknown) => {
    ok(error instanceof EnrolmentError, String(error));
    equal(error.code, code, error.message);
    equal(error.retryable, retryable);
    ok(/^Cannot /.test(error.message) && !error.message.endsWith("."), error.message);
    return true;
  };
}

Deno.test("enrol() joins, keeps the identity, and needs no relay for the same invite again", async () => {
  await using lab = await EnrolmentLab.start();
  const folder = await lab.folder("c", "connector");
  const invite = lab.invite("connector", "home", "web");
  const { identity, services } = await enrol(folder, invite, { now: Date.now() });
  deepEqual(services, ["web"]);
  equal(identity.name, "home");
  equal(identity.kind, "connector");
  equal(identity.networkId, lab.state.authority.networkId);
  equal(
    identity.relayServerName,
    (await lab.state.authority.relayCertificate(Date.now())).serverName,
  );
  deepEqual(await loadClientIdentity(folder), identity);
  equal(
    lab.state.store.standingOf({ kind: "connector", name: identity.name, pin: identity.pin }),
    "good",
  );
  await lab.server.close();
  const again = await enrol(folder, invite, { now: Date.now() });
  equal(again.identity.pin, identity.pin);
  if (Deno.build.os !== "windows") {
    for (const entry of Deno.readDirSync(folder.path)) {
      equal(Deno.statSync(folder.file(entry.name)).mode! & 0o777, 0o600, entry.name);
    }
  }
});

Deno.test("enrol() refuses used, expired, unknown invites and other roles, each by its own code", async () => {
  await using lab = await EnrolmentLab.start();
  const used = lab.invite("agent", "alice", "web");
  await enrol(await lab.folder("a1"), used, { now: Date.now() });
  await rejects(
    enrol(await lab.folder("a2"), used, { now: Date.now() }),
    refusedWith("invite-used", false),
  );
  const expired = lab.invite("agent", "bob", "web");
  lab.offset = 2 * HOUR;
  await rejects(
    enrol(await lab.folder("b"), expired, { now: Date.now() }),
    refusedWith("invite-expired", false),
  );
  lab.offset = 0;
  const replaced = lab.invite("agent", "carol", "web");
  lab.invite("agent", "carol", "web");
  await rejects(
    enrol(await lab.folder("c"), replaced, { now: Date.now() }),
    refusedWith("unknown-invite", false),
  );
  await rejects(
    enrol(await lab.folder("d", "connector"), lab.invite("agent", "dave", "web"), { now: 0 }),
    /Cannot join as connector as the invite is for an agent/,
  );
});

Deno.test("enrol() lets one of two that redeem at the same moment win", async () => {
  await using lab = await EnrolmentLab.start();
  const invite = lab.invite("agent", "alice", "web");
  const folders = await Promise.all(["a1", "a2", "a3", "a4"].map((name) => lab.folder(name)));
  const results = await Promise.allSettled(
    folders.map((folder) => enrol(folder, invite, { now: Date.now() })),
  );
  equal(results.filter(({ status }) => status === "fulfilled").length, 1);
  for (const result of results) {
    if (result.status === "rejected") refusedWith("invite-used", false)(result.reason);
  }
});

Deno.test("enrol() gets a second answer when the first was lost", async () => {
  await using lab = await EnrolmentLab.start();
  const folder = await lab.folder("a");
  const invite = lab.invite("agent", "alice", "web");
  const first = await enrol(folder, invite, { now: Date.now() });
  // As if the process had been killed before it could keep the answer.
  await folder.writeJson("enrolling.json", {
    inviteHash: first.identity.inviteHash,
    privateKey: first.identity.privateKeyPem,
  });
  await folder.remove("identity.json");
  const second = await enrol(folder, invite, { now: Date.now() });
  equal(second.identity.pin, first.identity.pin);
});

Deno.test("enrol() says that nothing can be reached, or that the invite is old then", async () => {
  await using lab = await EnrolmentLab.start();
  const invite = lab.invite("agent", "alice", "web");
  await lab.server.close();
  const folder = await lab.folder("a");
  await rejects(enrol(folder, invite, { now: Date.now() }), (error) => {
    refusedWith("unreachable", true)(error);
    ok((error as Error).message.includes("refuses the connection"), (error as Error).message);
    return true;
  });
  await rejects(
    enrol(folder, invite, { now: Date.now() + 2 * HOUR }),
    refusedWith("invite-expired", false),
  );
});

Deno.test("enrol() tries the relay's addresses, a broken one first", async () => {
  await using lab = await EnrolmentLab.start();
  const invite = lab.invite("agent", "alice", "web");
  const dead = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = dead.addr;
  dead.close();
  const relays = [
    { host: "127.0.0.1", port },
    { host: "localhost", port },
    ...invite.relays,
  ];
  const { identity } = await enrol(await lab.folder("a"), { ...invite, relays }, {
    now: Date.now(),
  });
  equal(identity.name, "alice");
});

Deno.test("enrol() does not show its secret to another network's relay", async () => {
  await using lab = await EnrolmentLab.start();
  const other = await createTestNetwork();
  const invite = lab.invite("agent", "alice", "web");
  let bytes = 0;
  const impostor = Deno.listenTls({
    hostname: "127.0.0.1",
    port: 0,
    cert: other.relay.certPem,
    key: other.relay.keyPem,
  });
  const serving = (async () => {
    const connection = await impostor.accept();
    try {
      bytes += await connection.read(new Uint8Array(1000)) ?? 0;
    } catch {
      // The client ends the handshake.
    }
    connection.close();
  })();
  const relays = [{ host: "127.0.0.1", port: impostor.addr.port }];
  await rejects(
    enrol(await lab.folder("a"), { ...invite, relays }, { now: Date.now() }),
    refusedWith("wrong-relay", true),
  );
  await serving;
  impostor.close();
  equal(bytes, 0);
});

Deno.test("enrol() does not take a folder that is another's", async () => {
  await using lab = await EnrolmentLab.start();
  const folder = await lab.folder("a");
  await enrol(folder, lab.invite("agent", "alice", "web"), { now: Date.now() });
  await rejects(
    enrol(folder, lab.invite("agent", "bob", "web"), { now: Date.now() }),
    (error) => error instanceof StateError && error.code === "not-ours",
  );
  // But one who was revoked and invited anew goes on in the same folder, with a new key.
  const before = await loadClientIdentity(folder);
  lab.state.store.revoke("agent", "alice" as Name, { now: Date.now() });
  const after = await enrol(folder, lab.invite("agent", "alice", "web"), { now: Date.now() });
  notEqual(after.identity.pin, before?.pin);
});

Deno.test("invites survive a restart of the relay", async () => {
  await using lab = await EnrolmentLab.start();
  const invite = lab.invite("agent", "alice", "web");
  const { networkId } = lab.state.authority;
  await lab.stopRelay();
  await lab.startRelay();
  equal(lab.state.authority.networkId, networkId);
  const { identity } = await enrol(await lab.folder("a"), invite, { now: Date.now() });
  equal(identity.networkId, networkId);
});

Deno.test("renew() gives a fresh certificate for the same key, long after the old one expired", async () => {
  await using lab = await EnrolmentLab.start();
  const folder = await lab.folder("a");
  const { identity } = await enrol(folder, lab.invite("agent", "alice", "web"), {
    now: Date.now(),
  });
  lab.state.store.grant("alice" as Name, ["ssh" as Name], { now: Date.now() });
  const old = await issueCertificate(
    {
      networkId: identity.networkId,
      certificatePem: lab.state.authority.caPem,
      privateKeyPem: await Deno.readTextFile(`${lab.path}/r/ca.key`),
    },
    {
      kind: "agent",
      name: identity.name,
      publicKey: keyPairOf(identity.privateKeyPem)
        .publicKey,
      now: Date.now() - 30 * DAY,
    },
  );
  await saveClientIdentity(folder, { ...identity, certificatePem: old });
  const expired = (await loadClientIdentity(folder))!;
  ok(expired.notAfter < Date.now());
  const fresh = await renew(folder, expired);
  equal(fresh.identity.pin, identity.pin);
  ok(fresh.identity.notAfter > Date.now() + 6 * DAY);
  deepEqual(fresh.services, ["ssh", "web"]);
  equal((await loadClientIdentity(folder))?.notAfter, fresh.identity.notAfter);
});

Deno.test("renew() is refused to the revoked and to an older key", async () => {
  await using lab = await EnrolmentLab.start();
  const folder = await lab.folder("a");
  const { identity } = await enrol(folder, lab.invite("agent", "alice", "web"), {
    now: Date.now(),
  });
  lab.state.store.revoke("agent", identity.name, { now: Date.now() });
  await rejects(renew(folder, identity), refusedWith("revoked", false));
  await enrol(await lab.folder("a2"), lab.invite("agent", "alice", "web"), { now: Date.now() });
  await rejects(renew(folder, identity), refusedWith("other-key", false));
});

Deno.test("Enrolment refuses requests with someone else's key or name", async () => {
  await using lab = await EnrolmentLab.start();
  const victim = await enrol(await lab.folder("v"), lab.invite("agent", "victim", "web"), {
    now: Date.now(),
  });
  const victimKey = parsePeerCertificate(decodePem("CERTIFICATE", victim.identity.certificatePem)!);
  ok(victimKey);
  const mine = await createKeyPair();
  const request = await createCertificateRequest(mine, { name: "victim" as Name });
  // My own key under the victim's name: the relay knows the victim's.
  equal((await lab.post("/v1/renew", { kind: "agent", request })).json.error, "other-key");
  // As a connector there is no victim.
  equal(
    (await lab.post("/v1/renew", { kind: "connector", request })).json.error,
    "unknown-identity",
  );
  // The victim's key in a request that I signed.
  const theirs = keyPairOf(victim.identity.privateKeyPem).publicKey;
  const der = decodePem("CERTIFICATE REQUEST", request)!;
  der.set(theirs, der.toHex().indexOf(mine.publicKey.toHex()) / 2);
  const forged = encodePem("CERTIFICATE REQUEST", der);
  equal(
    (await lab.post("/v1/renew", { kind: "agent", request: forged })).json.error,
    "bad-request",
  );
  // An invite for one name does not serve another, and is not used up by trying.
  const invite = lab.invite("agent", "eve", "web");
  const secret = invite.secret.toBase64({ alphabet: "base64url", omitPadding: true });
  equal((await lab.post("/v1/redeem", { secret, request })).json.error, "bad-request");
  await enrol(await lab.folder("e"), invite, { now: Date.now() });
});

Deno.test("a certificate that the relay mints for a connector's name is told by its pin", async () => {
  await using lab = await EnrolmentLab.start();
  const { identity } = await enrol(
    await lab.folder("c", "connector"),
    lab.invite("connector", "home", "web"),
    { now: Date.now() },
  );
  // The agent's invite carries the key of the connector that it will meet.
  const invite = lab.invite("agent", "alice", "web");
  deepEqual(invite.pins, [{ name: "home", pin: identity.pin }]);
  const pins = new PinTable();
  for (const { name, pin } of invite.pins) pins.remember({ kind: "connector", name, pin }, 0);
  const real = parsePeerCertificate(decodePem("CERTIFICATE", identity.certificatePem)!)!;
  ok(real.kind === "connector");
  equal(pins.check(real), "known");
  const { certificatePem } = await lab.state.authority.issue({
    kind: "connector",
    name: identity.name,
    publicKey: (await createKeyPair()).publicKey,
  }, { now: Date.now() });
  const minted = parsePeerCertificate(decodePem("CERTIFICATE", certificatePem)!)!;
  equal(minted.name, "home");
  equal(pins.check(minted), "changed");
  ok(changedKeyError(minted, { state: "." }).next?.includes("connector home"));
});

Deno.test("EnrolmentServer answers bad requests with a reason and goes on", async () => {
  await using lab = await EnrolmentLab.start();
  const cases: [string, string, string][] = [
    ["GET / HTTP/1.1\r\n\r\n", "404", "not-found"],
    ["GET /v1/redeem HTTP/1.1\r\nHost: x\r\n\r\n", "404", "not-found"],
    ["POST /v1/other HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", "404", "not-found"],
    ["POST /v1/redeem HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", "400", "bad-request"],
    ["POST /v1/redeem HTTP/1.1\r\nContent-Length: 3\r\n\r\n{{{", "400", "bad-request"],
    ["POST /v1/redeem HTTP/1.1\r\nContent-Length: 99999\r\n\r\n", "400", "bad-request"],
    [
      "POST /v1/redeem HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "400",
      "bad-request",
    ],
    [
      "POST /v1/redeem HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
      "400",
      "bad-request",
    ],
    [`POST /${"x".repeat(9000)}`, "400", "bad-request"],
    ["\0\0\0\0\r\n\r\n", "400", "bad-request"],
  ];
  for (const [request, status, error] of cases) {
    const answer = await lab.raw(request);
    ok(
      answer.status.startsWith(`HTTP/1.1 ${status} `),
      `${request.slice(0, 60)}: ${answer.status}`,
    );
    equal(answer.json.error, error);
  }
  const wrong = { secret: "A".repeat(22), request: "nonsense" };
  equal((await lab.post("/v1/redeem", wrong)).json.error, "bad-request");
  equal((await lab.post("/v1/renew", { kind: "relay", request: "" })).json.error, "bad-request");
  equal((await lab.post("/v1/redeem", "[".repeat(16_000))).json.error, "bad-request");
  equal(lab.server.counters.issued, 0);
});

Deno.test("EnrolmentServer serves others while strangers sit silent or send garbage", async () => {
  await using lab = await EnrolmentLab.start();
  const strangers = await Promise.all(
    Array.from({ length: 50 }, () => Deno.connect({ hostname: "127.0.0.1", port: lab.port })),
  );
  for (const [index, stranger] of strangers.entries()) {
    if (index % 2) await stranger.write(crypto.getRandomValues(new Uint8Array(500)));
  }
  const { identity } = await enrol(await lab.folder("a"), lab.invite("agent", "alice", "web"), {
    now: Date.now(),
  });
  equal(identity.name, "alice");
  for (const stranger of strangers) stranger.close();
});

Deno.test("EnrolmentServer drops the flood of one address, and goes on", async () => {
  await using lab = await EnrolmentLab.start();
  for (let i = 0; i < 130; i++) {
    (await Deno.connect({ hostname: "127.0.0.1", port: lab.port })).close();
  }
  const invite = lab.invite("agent", "alice", "web");
  const folder = await lab.folder("a");
  for (let tries = 0;; tries++) {
    try {
      await enrol(folder, invite, { now: Date.now() });
      break;
    } catch (error) {
      refusedWith("unreachable", true)(error);
      ok(tries < 50, "never let in again");
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  ok(lab.server.counters.dropped > 0);
});

Deno.test("EnrolmentServer.setCertificate() goes on with the new one on the same port", async () => {
  await using lab = await EnrolmentLab.start();
  const { authority } = lab.state;
  const first = await authority.relayCertificate(Date.now());
  const second = await authority.relayCertificate(Date.now() + 5 * DAY);
  notEqual(first.certPem, second.certPem);
  equal(first.keyPem, second.keyPem);
  await lab.server.setCertificate({ ...second, certPem: await reissued(lab) });
  const { identity } = await enrol(await lab.folder("a"), lab.invite("agent", "alice", "web"), {
    now: Date.now(),
  });
  equal(identity.relays[0]?.port, lab.server.address.port);
});

/** The relay's certificate anew, in force now. */
async function reissued(lab: EnrolmentLab): Promise<string> {
  const relay = await lab.state.authority.relayCertificate(Date.now() + 5 * DAY);
  return await issueCertificate({
    networkId: lab.state.authority.networkId,
    certificatePem: lab.state.authority.caPem,
    privateKeyPem: await Deno.readTextFile(`${lab.path}/r/ca.key`),
  }, {
    kind: "relay",
    name: "relay" as Name,
    publicKey: keyPairOf(relay.keyPem).publicKey,
    now: Date.now(),
  });
}

Deno.test("the relay's log and audit log hold no secret", async () => {
  await using lab = await EnrolmentLab.start();
  const token = lab.token("agent", "alice", "web");
  const invite = parseInvite(token);
  await enrol(await lab.folder("a"), invite, { now: Date.now() });
  const secret = invite.secret.toBase64({ alphabet: "base64url", omitPadding: true });
  const text = lab.logLines.join("\n") + JSON.stringify(lab.state.store.auditLog());
  ok(text.includes("invite redeemed") && text.includes("alice"));
  for (const hidden of [secret, token.slice(20, 80), "PRIVATE KEY"]) ok(!text.includes(hidden));
});
