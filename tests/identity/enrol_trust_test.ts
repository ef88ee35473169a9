import { equal, ok } from "node:assert/strict";
import { BasicConstraintsExtension, X509CertificateGenerator } from "@peculiar/x509";
import {
  type CertificateAuthority,
  createKeyPair,
  decodePem,
  encodeInvite,
  encodePem,
  issueCertificate,
  KEY_ALGORITHM,
  type Name,
  RELAY_NAME,
  SIGNATURE_ALGORITHM,
  toCryptoKeys,
} from "../../src/identity/mod.ts";
import { createTestNetwork } from "../helpers/test_network.ts";

/** A CA of somebody else's that calls itself as the network's does. */
async function impostorCa(networkId: string): Promise<CertificateAuthority> {
  const keyPair = await createKeyPair();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: `CN=Postern network ${networkId}`,
    keys: await toCryptoKeys(keyPair),
    signingAlgorithm: { ...KEY_ALGORITHM, ...SIGNATURE_ALGORITHM },
    extensions: [new BasicConstraintsExtension(true, 0, true)],
  });
  const certificatePem = encodePem("CERTIFICATE", new Uint8Array(certificate.rawData));
  return { networkId, certificatePem, privateKeyPem: keyPair.privateKeyPem };
}

Deno.test("enrol() shows nothing to one whom the machine trusts but the network does not", async () => {
  const network = await createTestNetwork();
  const ca = await impostorCa(network.networkId);
  const keys = await createKeyPair();
  const cert = await issueCertificate(ca, {
    kind: "relay",
    name: RELAY_NAME,
    publicKey: keys.publicKey,
    now: Date.now(),
  });
  const temp = await Deno.makeTempDir();
  const listener = Deno.listenTls({
    hostname: "127.0.0.1",
    port: 0,
    cert,
    key: keys.privateKeyPem,
  });
  let received = 0;
  let connections = 0;
  const serving = (async () => {
    for await (const connection of listener) {
      connections++;
      received += await connection.read(new Uint8Array(1000)).catch(() => 0) ?? 0;
      connection.close();
    }
  })();
  const token = encodeInvite({
    kind: "agent",
    name: "alice" as Name,
    relays: [{ host: "127.0.0.1", port: listener.addr.port }],
    services: [],
    secret: new Uint8Array(16),
    expires: Date.now() + 3_600_000,
    pins: [],
    ca: decodePem("CERTIFICATE", network.caPem)!,
  });
  // What a company's proxy does: its CA is among those that the machine trusts.
  await Deno.writeTextFile(`${temp}/trusted.pem`, ca.certificatePem);
  const module = new URL("../../src/identity/mod.ts", import.meta.url).href;
  const output = await new Deno.Command(Deno.execPath(), {
    args: [
      "eval",
      "--no-check",
      `
      import { enrol, openStateFolder, parseInvite } from ${JSON.stringify(module)};
      const folder = await openStateFolder(${
        JSON.stringify(temp + "/a")
      }, { role: "agent", create: true });
      await enrol(folder, parseInvite(${JSON.stringify(token)}), { now: Date.now() })
        .then(() => console.log("joined"), (error) => console.log(error.code));
    `,
    ],
    cwd: new URL("../..", import.meta.url).pathname,
    env: {
      DENO_CERT: `${temp}/trusted.pem`,
      DENO_TLS_CA_STORE: "mozilla,system",
      NODE_EXTRA_CA_CERTS: `${temp}/trusted.pem`,
    },
    stderr: "inherit",
  }).output();
  listener.close();
  await serving.catch(() => {});
  await Deno.remove(temp, { recursive: true });
  equal(new TextDecoder().decode(output.stdout).trim(), "wrong-relay");
  ok(connections > 0, "the impostor was reached");
  equal(received, 0);
});
