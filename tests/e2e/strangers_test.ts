/**
 * Who may not come in: strangers get nothing after the handshake, the wrong kind and the revoked get nothing at all.
 * @module
 */
import assert from "node:assert/strict";
import {
  createKeyPair,
  type IdentityKind,
  issueCertificate,
  parseName,
  RELAY_NAME,
  serverNameOf,
} from "../../src/identity/mod.ts";
import { openRelayState } from "../../src/relay/state.ts";
import type { RelayStatus } from "../../src/roles/status.ts";
import { createTestNetwork } from "../helpers/test_network.ts";
import { clientConfig, RawClient } from "./raw_client.ts";
import { eventually, freePort, inScene } from "./scene.ts";
import { exchange, Stage, startLineEcho, writeAll } from "./stage.ts";

/** The CA of the stage's relay, as whoever has stolen it would use it. */
async function forge(
  stage: Stage,
  kind: IdentityKind,
  options: { name?: string; now?: number; lifetime?: number } = {},
): Promise<{ caPem: string; certPem: string; keyPem: string; serverName: string }> {
  using state = await openRelayState(stage.path("relay"), { now: Date.now() });
  const { caPem, networkId } = state.authority;
  const privateKeyPem = await Deno.readTextFile(state.folder.file("ca.key"));
  const { publicKey, privateKeyPem: keyPem } = await createKeyPair();
  const { name = "alice", ...times } = options;
  const certPem = await issueCertificate(
    { networkId, certificatePem: caPem, privateKeyPem },
    { kind, name: parseName(name), publicKey, now: Date.now(), ...times },
  );
  const serverName = serverNameOf({ kind: "relay", name: RELAY_NAME, networkId });
  return { caPem, certPem, keyPem, serverName };
}

/** Comes, says hello, and tells how that ended. */
async function tryToEnter(stage: Stage, options: {
  caPem: string;
  certPem?: string;
  keyPem?: string;
  serverName: string;
  alpn?: string;
}) {
  await using client = new RawClient({
    port: stage.port,
    config: clientConfig(options),
    serverName: options.serverName,
  });
  if (await client.established) client.hello();
  const reason = await client.closed;
  return { heard: client.heard, reason };
}

Deno.test("strangers get nothing from the relay, and it goes on", async (t) => {
  await using stage = new Stage();
  const relay = await stage.relay().ready();
  const stolen = await forge(stage, "agent");
  const { caPem, serverName } = stolen;
  const other = await createTestNetwork();
  const elsewhere = await other.agent("alice");
  const longAgo = { now: Date.now() - 30 * 86_400_000, lifetime: 86_400_000 };
  const strangers = {
    "without a certificate": { caPem },
    "with a certificate of another network": {
      caPem,
      certPem: elsewhere.certPem,
      keyPem: elsewhere.keyPem,
    },
    "with a certificate that has expired": await forge(stage, "agent", longAgo),
    "with a certificate that is not valid yet": await forge(stage, "agent", {
      now: Date.now() + 86_400_000,
    }),
    "with a relay's certificate": await forge(stage, "relay", { name: "relay" }),
    "with a good certificate of a name that has never joined": stolen,
    "with another protocol": { ...stolen, alpn: "postern/1" },
  };
  for (const [how, credentials] of Object.entries(strangers)) {
    await t.step(how, async () => {
      const { heard, reason } = await tryToEnter(stage, { ...credentials, serverName });
      assert.deepEqual(heard, []);
      assert.equal(reason.by, "peer", JSON.stringify(reason));
    });
  }
  const status = await relay.status();
  assert.ok(status.role === "relay");
  assert.deepEqual(status.clients, []);
  assert.doesNotMatch(relay.text, /client joined/);
});

Deno.test("a client refuses a relay with another's certificate, and says why", async () => {
  for (const kind of ["agent", "connector"] as const) {
    await using stage = new Stage();
    await (await stage.relay().ready()).stop();
    const false_ = await forge(stage, kind, { name: "relay" });
    // A client as ours are, towards a relay that has only a client's certificate.
    const { QuicEndpoint } = await import("../../src/quic/mod.ts");
    const { controlConfig } = await import("../../src/roles/control_profile.ts");
    const { socketEgress } = await import("../../src/roles/socket_egress.ts");
    const { Demultiplexer, openUdpSocket } = await import("../../src/sockets/mod.ts");
    const endpoint = new QuicEndpoint();
    const socket = openUdpSocket({ host: "127.0.0.1", port: stage.port });
    let streams = 0;
    endpoint.listen(() => ({
      config: controlConfig(false_),
      egress: socketEgress(socket),
      handler: () => ({ stream: () => streams++ }),
    }));
    socket.receive(
      new Demultiplexer({
        quic: (data, size, from) => endpoint.ingest(data, size, from, socket.local),
        batchEnd: () => endpoint.batchEnd(),
      }),
    );
    const alice = await forge(stage, "agent");
    const { heard, reason } = await tryToEnter(stage, alice);
    assert.deepEqual(heard, []);
    assert.equal(reason.by, "local", JSON.stringify(reason));
    assert.equal(streams, 0, "no word was said to it");
    endpoint.close("");
    socket.close();
  }
});

Deno.test("a revoked agent is out within two seconds, live connections and all, and stays out", async () => {
  await using stage = new Stage();
  const relay = await stage.relay().ready();
  const { home, alice, local } = await stage.join();
  const live = await Deno.connect({ hostname: "127.0.0.1", port: local });
  await writeAll(live, new TextEncoder().encode("hello\n"));
  const buffer = new Uint8Array(1024);
  assert.equal(await live.read(buffer), 6);

  const since = Date.now();
  await stage.change((store) => store.revoke("agent", parseName("alice"), { now: Date.now() }));
  const end = await live.read(buffer).then((n) => n === null ? "an end" : "bytes", (e) => e.name);
  assert.equal(end, "ConnectionReset", "whoever listens must not take a part for the whole");
  assert.ok(Date.now() - since < 2_000, `it took ${Date.now() - since} ms`);
  live.close();
  await eventually("nobody but the connector at the relay", async () => {
    const status = await relay.status();
    return status.role === "relay" && status.clients.length === 1 && status.tunnels.length === 0
      ? true
      : undefined;
  }, { withinMs: 5_000 });
  await alice.logs(/revoked/);
  assert.equal(await exchange(local, "again\n", { withinMs: 2_000 }), "");

  // Nor with a new process.
  await alice.stop();
  const again = stage.agent();
  await again.logs(/revoked/);
  assert.deepEqual(again.said, []);
  await again.stop();
  await home.stop();
});

Deno.test("a revoked connector is out within two seconds too", async () => {
  await using stage = new Stage();
  await stage.relay().ready();
  const { home, local } = await stage.join();
  const live = await Deno.connect({ hostname: "127.0.0.1", port: local });
  await writeAll(live, new TextEncoder().encode("hello\n"));
  const buffer = new Uint8Array(1024);
  assert.equal(await live.read(buffer), 6);
  const since = Date.now();
  await stage.change((store) => store.revoke("connector", parseName("home"), { now: Date.now() }));
  const end = await live.read(buffer).then((n) => n === null ? "an end" : "bytes", (e) => e.name);
  assert.equal(end, "ConnectionReset");
  assert.ok(Date.now() - since < 2_000, `it took ${Date.now() - since} ms`);
  live.close();
  await home.logs(/revoked/);
});

Deno.test("a grant that is taken back ends its live flows within two seconds, and only these", async () => {
  await using stage = new Stage();
  await stage.relay().ready();
  const web = startLineEcho(stage);
  const ssh = startLineEcho(stage);
  const ports = { web: freePort(), ssh: freePort() };
  const services = ["web", "ssh"];
  await stage.connector({
    invite: await stage.invite("connector", "home", { services }),
    services: { web, ssh },
  }).ready();
  const alice = await stage.agent({
    invite: await stage.invite("agent", "alice", { services }),
    forwards: ports,
  }).ready();
  const open = async (port: number) => {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port });
    await writeAll(conn, new TextEncoder().encode("hello\n"));
    assert.equal(await conn.read(new Uint8Array(10)), 6);
    return conn;
  };
  const [liveWeb, liveSsh] = [await open(ports.web), await open(ports.ssh)];
  const since = Date.now();
  await stage.change((store) =>
    store.ungrant(parseName("alice"), [parseName("ssh")], { now: Date.now() })
  );
  const end = await liveSsh.read(new Uint8Array(10)).then(() => "more", (e) => e.name);
  assert.equal(end, "ConnectionReset");
  assert.ok(Date.now() - since < 2_000, `it took ${Date.now() - since} ms`);
  await writeAll(liveWeb, new TextEncoder().encode("still\n"));
  assert.equal(await liveWeb.read(new Uint8Array(10)), 6);
  assert.equal(await exchange(ports.ssh, "again\n", { withinMs: 3_000 }), "");
  await alice.logs(/Cannot open flow to \\"ssh\\" as agent \\"alice\\" is not granted it/);
  liveWeb.close();
  liveSsh.close();
});

Deno.test("a revoked agent that hears nothing loses its flow at the connector, and its place at the relay, within two seconds", async () => {
  await inScene(async (scene) => {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    scene.atEnd(() => listener.close());
    const relay = await scene.startRelay();
    const home = await scene.invite(relay, "connector", "home", ["web"]);
    const alice = await scene.invite(relay, "agent", "alice", ["web"]);
    const { port } = listener.addr as Deno.NetAddr;
    await scene.startConnector({ invite: home, services: [`web=127.0.0.1:${port}`] }).ready();
    const agent = scene.startAgent({ invite: alice, services: ["web"] });
    await agent.process.ready();
    using application = await Deno.connect({ hostname: "127.0.0.1", port: agent.ports["web"]! });
    await writeAll(application, new TextEncoder().encode("hello\n"));
    using served = await listener.accept();
    const buffer = new Uint8Array(1024);
    assert.equal(await served.read(buffer), 6);
    agent.process.signal("SIGSTOP");
    try {
      const revoked = await scene.postern(["revoke", "--state", relay.state, "agent", "alice"]);
      const since = Date.now();
      assert.equal(revoked.code, 0, revoked.stderr);
      const end = await served.read(buffer).then(
        (n) => n === null ? "an end" : "bytes",
        (e) => e.name,
      );
      assert.equal(end, "ConnectionReset");
      const { clients, tunnels } = await scene.status(relay.state) as unknown as RelayStatus;
      assert.ok(Date.now() - since < 2_000, `it took ${Date.now() - since} ms`);
      assert.deepEqual(clients.map(({ name }) => name), ["home"]);
      assert.deepEqual(tunnels, []);
    } finally {
      agent.process.signal("SIGCONT");
    }
  });
});
