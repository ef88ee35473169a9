import assert from "node:assert/strict";
import {
  type ClientInput,
  type ClientOutput,
  ClientSession,
} from "../../src/control/client_session.ts";
import { CONNECT_TIMEOUT_MS, MAX_TUNNELS_PER_AGENT } from "../../src/control/client_tunnels.ts";
import {
  CHECK_INTERVAL_MS,
  MAX_MISSED_PINGS,
  PING_INTERVAL_MS,
} from "../../src/control/keepalive.ts";
import type { ClientKind, RelayMessage } from "../../src/control/messages.ts";
import { drain, RELAY_SAMPLES, TUNNEL } from "./samples.ts";

const OTHER = "fedcba9876543210";
const SEED = { nonce: "A".repeat(22), issuedAt: 5 };
const { welcome, granted, refused, draining } = RELAY_SAMPLES;

function open(kind: ClientKind = "agent") {
  const session = new ClientSession({ kind, software: "test", instance: "0".repeat(16) });
  let now = 0;
  const tell = (input: ClientInput, after = 0): ClientOutput[] => {
    now += after;
    session.handle(input, now);
    return drain(session);
  };
  return {
    session,
    tell,
    hear: (message: RelayMessage, after = 0) => tell({ type: "message", message }, after),
    start: (attempt = 1) => tell({ type: "start", attempt, ...SEED }),
    connect: (tunnelId = TUNNEL, connector: string | null = null) =>
      tell({ type: "connect", tunnelId, service: "web", connector }),
    tick: (after: number) => tell({ type: "tick" }, after),
  };
}

function sent(outputs: readonly ClientOutput[]) {
  return outputs.flatMap((output) => output.type === "send" ? [output.message] : []);
}

function asked(request: number, resume = false, connector: string | null = null) {
  return {
    type: "connect",
    request,
    service: "web",
    tunnelId: TUNNEL,
    connector,
    resume,
    observed: [],
  };
}

Deno.test("ClientSession.handle() says everything in the first flight, and again when early data was refused", () => {
  const agent = open();
  agent.connect();
  const first = sent(agent.start());
  assert.deepEqual(first.map(({ type }) => type), ["hello", "connect"]);
  assert.deepEqual(first[0], {
    type: "hello",
    version: 1,
    software: "test",
    nonce: SEED.nonce,
    issuedAt: 5,
    instance: "0".repeat(16),
    attempt: 1,
  });
  const nonce = "B".repeat(21) + "A";
  const again = sent(agent.tell({ type: "restart", nonce, issuedAt: null }));
  assert.deepEqual(again, [
    { ...first[0], nonce, issuedAt: null },
    asked(2),
  ]);
  // Once, not twice: the answer to the second is the answer.
  agent.hear(welcome);
  const [output] = agent.hear({ ...granted, request: 2 });
  assert.equal(output?.type, "granted");
  assert.deepEqual(agent.hear({ ...refused, request: 1 }), []);
});

Deno.test("ClientSession.handle() registers again on every connection, and reviews agents in parts", () => {
  const connector = open("connector");
  const agents = Array.from({ length: 600 }, (_, i) => `agent-${i}`);
  assert.deepEqual(connector.tell({ type: "register", services: ["web"], agents }), []);
  for (const attempt of [1, 2]) {
    const messages = sent(connector.start(attempt));
    assert.deepEqual(messages.map(({ type }) => type), [
      "hello",
      "register",
      "review",
      "review",
      "review",
    ]);
    assert.deepEqual(messages.flatMap((it) => it.type === "review" ? it.agents : []), agents);
    connector.tell({ type: "lost" });
  }
});

Deno.test("ClientSession.handle() tells how long welcome took, and the round trip of a ping", () => {
  const agent = open();
  agent.start();
  assert.deepEqual(agent.hear(welcome, 41), [{ type: "welcome", welcome, elapsedMs: 41 }]);
  assert.deepEqual(sent(agent.tick(PING_INTERVAL_MS)), [{ type: "ping", id: 1 }]);
  assert.deepEqual(agent.hear({ type: "pong", id: 2 }, 3), []);
  assert.deepEqual(agent.hear({ type: "pong", id: 1 }, 30), [{ type: "rtt", rttMs: 33 }]);
  assert.deepEqual(agent.hear({ type: "pong", id: 1 }, 1), []);
});

Deno.test("ClientSession.handle() gives up a relay that answers no ping, not one that was slow to be asked", () => {
  const agent = open();
  agent.start();
  agent.hear(welcome);
  const deaf = () => {
    let pings = 0;
    for (;;) {
      const due = agent.session.deadline()!;
      const outputs = drain(agent.session);
      agent.session.handle({ type: "tick" }, due);
      outputs.push(...drain(agent.session));
      if (outputs.some((output) => output.type === "close")) return pings;
      pings += sent(outputs).length;
    }
  };
  // Asleep for ten minutes: one ping is missed, not forty.
  assert.equal(sent(agent.tick(PING_INTERVAL_MS)).length, 1);
  assert.equal(sent(agent.tick(600_000)).length, 1);
  agent.hear({ type: "pong", id: 2 });
  assert.equal(deaf(), MAX_MISSED_PINGS);
  assert.equal(agent.session.state, "idle");
});

Deno.test("ClientSession.handle() finds out soon after a network change", () => {
  const agent = open();
  agent.start();
  agent.hear(welcome);
  assert.equal(sent(agent.tell({ type: "check" }, 1_000)).length, 1);
  assert.deepEqual(agent.hear({ type: "pong", id: 1 }, 80), [{ type: "rtt", rttMs: 80 }]);
  // All is well: back to the long interval.
  assert.equal(agent.session.deadline(), 1_080 + PING_INTERVAL_MS);
  agent.tell({ type: "check" });
  for (let i = 1; i < MAX_MISSED_PINGS; i++) {
    assert.equal(sent(agent.tick(CHECK_INTERVAL_MS)).length, 1);
  }
  const [output] = agent.tick(CHECK_INTERVAL_MS);
  assert.equal(output?.type === "close" && output.code, "silent");
});

Deno.test("ClientSession.handle() keeps tunnels over connections", () => {
  const agent = open();
  agent.start();
  agent.hear(welcome);
  agent.connect();
  assert.deepEqual(agent.hear(granted), [
    { type: "granted", service: "web", grant: granted, resumed: false },
  ]);
  agent.tell({ type: "lost" });
  // The connector is named: another one with the same service knows nothing of the tunnel.
  assert.deepEqual(sent(agent.start(2)).slice(1), [asked(2, true, "home")]);
  agent.hear(welcome);
  const grant = { ...granted, request: 2 };
  assert.deepEqual(agent.hear(grant), [{ type: "granted", service: "web", grant, resumed: true }]);
});

Deno.test("ClientSession.handle() asks again for a tunnel whose connector is not back yet", () => {
  const agent = open();
  agent.start();
  agent.hear(welcome);
  agent.connect();
  agent.hear(granted);
  assert.deepEqual(agent.hear({ type: "disconnected", tunnelId: TUNNEL, reason: "offline" }), [
    { type: "disconnected", tunnelId: TUNNEL, reason: "offline", final: false },
  ]);
  const waits = [];
  for (let request = 2; request < 8; request++) {
    const before = agent.session.deadline()!;
    agent.session.handle({ type: "tick" }, before);
    assert.deepEqual(sent(drain(agent.session)), [asked(request, true, "home")]);
    agent.session.handle({ type: "message", message: { ...refused, request } }, before);
    assert.deepEqual(drain(agent.session), []);
    waits.push(agent.session.deadline()! - before);
  }
  assert.deepEqual(waits, [500, 1000, 2000, 2000, 2000, 2000]);
});

Deno.test("ClientSession.handle() ends a tunnel for good where the relay says so", () => {
  for (const reason of ["closed", "restarted", "revoked", "not-granted"] as const) {
    const agent = open();
    agent.start();
    agent.hear(welcome);
    agent.connect();
    agent.hear(granted);
    const message = { type: "disconnected", tunnelId: TUNNEL, reason } as const;
    assert.deepEqual(agent.hear(message), [{ ...message, final: true }]);
    agent.tell({ type: "lost" });
    assert.equal(sent(agent.start(2)).length, 1, "only hello");
  }
  for (const reason of ["not-granted", "tunnel-clash"] as const) {
    const agent = open();
    agent.start();
    agent.hear(welcome);
    agent.connect();
    agent.hear(granted);
    agent.start(2);
    agent.hear(welcome);
    assert.deepEqual(agent.hear({ ...refused, request: 2, reason }), [
      { type: "disconnected", tunnelId: TUNNEL, reason, final: true },
    ]);
  }
});

Deno.test("ClientSession.handle() lets a request wait for a relay, but not for ever", () => {
  const agent = open();
  assert.deepEqual(agent.connect(), []);
  assert.equal(agent.session.deadline(), CONNECT_TIMEOUT_MS);
  const timeout = {
    type: "refused",
    tunnelId: TUNNEL,
    service: "web",
    reason: "timeout",
    message: 'Cannot open tunnel for "web" as the relay has not answered for 10 s',
  };
  assert.deepEqual(agent.tick(CONNECT_TIMEOUT_MS), [timeout]);
  assert.equal(agent.session.deadline(), undefined);
});

Deno.test("ClientSession.handle() takes back a request that timed out, also when the answer comes late", () => {
  const agent = open();
  agent.connect();
  agent.tick(1);
  agent.start();
  agent.hear(welcome);
  const outputs = agent.tick(CONNECT_TIMEOUT_MS);
  assert.deepEqual(sent(outputs).map(({ type }) => type), ["disconnect"]);
  assert.equal(outputs.at(-1)?.type, "refused");
  assert.deepEqual(sent(agent.hear(granted)), [{ type: "disconnect", tunnelId: TUNNEL }]);
});

Deno.test("ClientSession.handle() keeps requests over a relay that drains", () => {
  const agent = open();
  agent.start();
  agent.hear(welcome);
  agent.connect();
  agent.hear(draining);
  assert.deepEqual(agent.hear({ ...refused, reason: "draining" }), []);
  assert.deepEqual(agent.connect(OTHER), []);
  agent.tell({ type: "lost" });
  assert.deepEqual(sent(agent.start(2)).map(({ type }) => type), ["hello", "connect", "connect"]);
});

Deno.test("ClientSession.handle() says that tunnels are over while the relay drains", () => {
  const agent = open();
  agent.start();
  agent.hear(welcome);
  agent.connect();
  agent.hear(granted);
  agent.hear(draining);
  assert.deepEqual(sent(agent.tell({ type: "disconnect", tunnelId: TUNNEL })), [
    { type: "disconnect", tunnelId: TUNNEL },
  ]);
});

Deno.test("ClientSession.handle() refuses a tunnel id in use and one tunnel too many", () => {
  const agent = open();
  for (let i = 0; i < MAX_TUNNELS_PER_AGENT; i++) agent.connect(i.toString(16).padStart(16, "0"));
  const [clash] = agent.connect("0".repeat(16));
  assert.equal(clash?.type === "refused" && clash.reason, "tunnel-clash");
  const [many] = agent.connect("f".repeat(16));
  assert.equal(
    many?.type === "refused" && many.message,
    'Cannot open tunnel for "web" as 64 tunnels are open, which is the most',
  );
});

Deno.test("ClientSession.handle() refuses a relay that leads to another connector than asked for", () => {
  const agent = open();
  agent.start();
  agent.hear(welcome);
  agent.connect(TUNNEL, "office");
  const [output] = agent.hear(granted);
  assert.ok(output?.type === "close");
  assert.equal(
    output.message,
    `Cannot take tunnel "${TUNNEL}" as it leads to "home" and "office" was asked for`,
  );
});

Deno.test("ClientSession.handle() sends the newest certificate request once there is a connection", () => {
  const agent = open();
  agent.tell({ type: "renew", csr: "old" });
  agent.tell({ type: "renew", csr: "new" });
  agent.start();
  assert.deepEqual(sent(agent.hear(welcome)), [{ type: "renew", csr: "new" }]);
  agent.tell({ type: "lost" });
  agent.start(2);
  assert.deepEqual(sent(agent.hear(welcome)), []);
});

Deno.test("ClientSession.handle() forgets what it asked when a tunnel is given up, in every state", () => {
  const agent = open();
  agent.connect();
  // Never sent: nothing to take back.
  assert.deepEqual(agent.tell({ type: "disconnect", tunnelId: TUNNEL }), []);
  agent.start();
  agent.connect();
  assert.deepEqual(sent(agent.tell({ type: "disconnect", tunnelId: TUNNEL })), [
    { type: "disconnect", tunnelId: TUNNEL },
  ]);
  assert.deepEqual(sent(agent.tell({ type: "restart", ...SEED })).map(({ type }) => type), [
    "hello",
  ]);
});

Deno.test("ClientSession.handle() says where it is seen with every question, and at once when that changes", () => {
  const agent = open();
  agent.tell({ type: "observed", addresses: ["198.51.100.7:1"] });
  agent.connect();
  const [, connect] = sent(agent.start());
  assert.deepEqual(connect?.type === "connect" && connect.observed, ["198.51.100.7:1"]);
  agent.hear(welcome);
  const addresses = ["198.51.100.7:2"];
  assert.deepEqual(sent(agent.tell({ type: "observed", addresses })), [
    { type: "observed", addresses },
  ]);
  const connector = open("connector");
  connector.tell({ type: "observed", addresses });
  connector.tell({ type: "register", services: ["web"], agents: [] });
  assert.deepEqual(sent(connector.start())[1], {
    type: "register",
    services: ["web"],
    observed: addresses,
  });
});
