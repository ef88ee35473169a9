import { deepEqual, equal, notEqual, ok } from "node:assert/strict";
import fc from "fast-check";
import {
  CLOCK_SKEW,
  createCa,
  createCertificateRequest,
  createKeyPair,
  decodePem,
  encodePem,
  isSignedBy,
  issueCertificate,
  keyPairOf,
  LEAF_LIFETIME,
  networkIdOfCertificate,
  parseName,
  parsePeerCertificate,
  pinOf,
  readCertificateRequest,
  renewalTime,
} from "../../src/identity/mod.ts";
import { createTestNetwork } from "../helpers/test_network.ts";

const NOW = 1_800_000_000_000;
const der = (pem: string) => decodePem("CERTIFICATE", pem)!;

Deno.test("parsePeerCertificate() reads what issueCertificate() wrote", async () => {
  const ca = await createCa({ now: NOW });
  const keyPair = await createKeyPair();
  const name = parseName("home");
  const pem = await issueCertificate(ca, {
    kind: "connector",
    name,
    publicKey: keyPair.publicKey,
    now: NOW,
  });
  const peer = parsePeerCertificate(der(pem));
  ok(peer);
  equal(peer.kind, "connector");
  equal(peer.name, "home");
  equal(peer.networkId, ca.networkId);
  equal(peer.pin, pinOf(keyPair.publicKey));
  equal(peer.notBefore, NOW - CLOCK_SKEW);
  equal(peer.notAfter, NOW + LEAF_LIFETIME);
  ok(isSignedBy(der(pem), der(ca.certificatePem)));
  equal(networkIdOfCertificate(der(ca.certificatePem)), ca.networkId);
});

Deno.test("parsePeerCertificate() refuses a CA's certificate", async () => {
  const ca = await createCa({ now: NOW });
  equal(parsePeerCertificate(der(ca.certificatePem)), undefined);
});

Deno.test("parsePeerCertificate() gives undefined for any bytes", async () => {
  const whole = der((await createTestNetwork()).relay.certPem);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 1024 }), (bytes) => {
    equal(parsePeerCertificate(bytes), undefined);
  }));
  for (let length = 0; length < whole.length; length++) {
    equal(parsePeerCertificate(whole.subarray(0, length)), undefined);
  }
  // Any flipped bit: another certificate or none, never a throw, and never signed by the CA.
  fc.assert(fc.property(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), (at, bits) => {
    const bent = whole.slice();
    bent[at]! ^= bits;
    parsePeerCertificate(bent);
  }));
  equal(parsePeerCertificate(new TextEncoder().encode(encodePem("CERTIFICATE", whole))), undefined);
});

Deno.test("isSignedBy() refuses another network's CA and every change of what is signed", async () => {
  const [one, other] = [await createTestNetwork(), await createTestNetwork()];
  const leaf = der(one.relay.certPem);
  ok(isSignedBy(leaf, der(one.caPem)));
  ok(!isSignedBy(leaf, der(other.caPem)));
  ok(!isSignedBy(leaf, leaf));
  fc.assert(fc.property(fc.nat(leaf.length - 1), fc.integer({ min: 1, max: 255 }), (at, bits) => {
    const bent = leaf.slice();
    bent[at]! ^= bits;
    // The few bytes around what is signed may bend without harm; what the certificate says may not.
    if (isSignedBy(bent, der(one.caPem))) {
      const read = parsePeerCertificate(bent);
      if (read) deepEqual(read, parsePeerCertificate(leaf));
    }
  }));
  equal(networkIdOfCertificate(leaf), undefined);
});

Deno.test("issueCertificate() gives each kind only the usages it needs", async () => {
  const network = await createTestNetwork();
  const [server, client] = ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"];
  const has = (pem: string, oid: string) => {
    const wanted = oid.split(".").map(Number);
    const body = Uint8Array.from([wanted[0]! * 40 + wanted[1]!, ...wanted.slice(2)]);
    return der(pem).toHex().includes(body.toHex());
  };
  const [connector, agent] = [await network.connector("c"), await network.agent("a")];
  equal(has(network.relay.certPem, server), true);
  equal(has(network.relay.certPem, client), false);
  equal(has(connector.certPem, server), true);
  equal(has(connector.certPem, client), true);
  equal(has(agent.certPem, server), false);
  equal(has(agent.certPem, client), true);
});

Deno.test("readCertificateRequest() gives name and key of a well-signed request", async () => {
  const keyPair = await createKeyPair();
  const pem = await createCertificateRequest(keyPair, { name: parseName("alice") });
  const request = await readCertificateRequest(pem);
  equal(request?.name, "alice");
  equal(pinOf(request!.publicKey), pinOf(keyPair.publicKey));
});

Deno.test("readCertificateRequest() refuses a request for someone else's key", async () => {
  const [mine, theirs] = [await createKeyPair(), await createKeyPair()];
  const pem = await createCertificateRequest(mine, { name: parseName("alice") });
  const bytes = decodePem("CERTIFICATE REQUEST", pem)!;
  // Put their public key where mine was; the signature is still mine.
  const at = bytes.toHex().indexOf(mine.publicKey.toHex()) / 2;
  ok(at > 0);
  bytes.set(theirs.publicKey, at);
  equal(await readCertificateRequest(encodePem("CERTIFICATE REQUEST", bytes)), undefined);
});

Deno.test("readCertificateRequest() gives undefined for garbage", async () => {
  equal(await readCertificateRequest(""), undefined);
  equal(
    await readCertificateRequest(encodePem("CERTIFICATE REQUEST", new Uint8Array(100))),
    undefined,
  );
  equal(
    await readCertificateRequest(
      "-----BEGIN CERTIFICATE REQUEST-----\n!!!\n-----END CERTIFICATE REQUEST-----",
    ),
    undefined,
  );
});

Deno.test("keyPairOf() gives the public key back, and refuses what is no key", async () => {
  const keyPair = await createKeyPair();
  equal(pinOf(keyPairOf(keyPair.privateKeyPem).publicKey), pinOf(keyPair.publicKey));
  for (const text of ["", "garbage", keyPair.privateKeyPem.slice(0, 80)]) {
    try {
      keyPairOf(text);
      ok(false, "must throw");
    } catch (error) {
      ok(error instanceof SyntaxError);
    }
  }
});

Deno.test("renewalTime() is when a third of the lifetime is left", () => {
  equal(renewalTime({ notBefore: 0, notAfter: 9 }), 6);
});

Deno.test("createTestNetwork() gives a new key at each call", async () => {
  const network = await createTestNetwork();
  const [one, two] = [await network.agent("alice"), await network.agent("alice")];
  notEqual(one.pin, two.pin);
  equal(one.serverName, `alice.agent.${network.networkId}.postern.invalid`);
});
