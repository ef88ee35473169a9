import assert from "node:assert/strict";
import type { ClientKind, ClientMessageOf, RelayMessage } from "../../src/control/messages.ts";
import { encodeMessage } from "../../src/control/framing.ts";
import { addressOf } from "../../src/core/mod.ts";
import {
  EMPTY_POLICY,
  MAX_SESSIONS,
  MAX_TUNNELS,
  Registry,
  type RegistryOutput,
  TUNNEL_GRACE_MS,
} from "../../src/relay/registry.ts";
import { changedGrants, policyMessages } from "../../src/relay/registry_policy.ts";
import { drain } from "../control/samples.ts";
import { type PolicyLists, snapshotOf } from "./registry_model.ts";

const POLICY: PolicyLists = {
  grants: [["alice", "web"], ["alice", "dns"], ["bob", "web"]],
  offers: [["home", "web"], ["home", "ssh"], ["office", "web"], ["office", "dns"]],
  revoked: [],
};
const NEW_ID = { instance: "a".repeat(16), attempt: 1 };
const T1 = "1".repeat(16);
const T2 = "2".repeat(16);

function address(session: number) {
  return addressOf("198.51.100.1", 2_000 + session);
}

/** A registry with sessions by number: 1 home, 2 office, 11 alice, 12 bob. */
function relay(policy = POLICY, options = {}) {
  const registry = new Registry({ policy: snapshotOf(policy), ...options });
  let now = 0;
  const tell = (input: Parameters<Registry["handle"]>[0], after = 0) => {
    now += after;
    registry.handle(input, now);
    return drain(registry);
  };
  const join = (session: number, kind: ClientKind, name: string, hello = NEW_ID) => {
    const identity = { kind, name, pin: name.padEnd(43, "A"), serverName: `${name}.test` };
    return tell({ type: "open", session, identity, ...hello, address: address(session) });
  };
  const register = (session: number, ...services: string[]) =>
    tell({
      type: "request",
      session,
      request: { type: "register", services, observed: [`192.0.2.${session}:1`] },
    });
  const connect = (session: number, wanted: Partial<ClientMessageOf<"connect">> = {}) =>
    tell({
      type: "request",
      session,
      request: {
        type: "connect",
        request: 7,
        service: "web",
        tunnelId: T1,
        connector: null,
        resume: false,
        observed: [`192.0.2.${session}:1`],
        ...wanted,
      },
    });
  return { registry, tell, join, register, connect };
}

/** With home (web, ssh) and alice online. */
function busy(policy = POLICY, options = {}) {
  const it = relay(policy, options);
  it.join(1, "connector", "home");
  it.register(1, "web", "ssh");
  it.join(11, "agent", "alice");
  return it;
}

function heard(outputs: readonly RegistryOutput[], session: number): RelayMessage[] {
  return outputs.flatMap((it) => it.type === "send" && it.session === session ? [it.message] : []);
}

function refusal(outputs: readonly RegistryOutput[]) {
  const message = outputs.flatMap((it) => it.type === "send" ? [it.message] : []).at(-1);
  assert.ok(message?.type === "refused", JSON.stringify(outputs));
  return `${message.reason}: ${message.message}`;
}

Deno.test("Registry.handle() joins an agent with a connector: route, connector, agent, in that order", () => {
  const it = busy();
  const outputs = it.connect(11);
  assert.deepEqual(outputs, [
    { type: "route", tunnelId: T1, a: address(11), b: address(1) },
    {
      type: "send",
      session: 1,
      message: {
        type: "incoming",
        tunnelId: T1,
        agent: "alice",
        pin: "alice".padEnd(43, "A"),
        // Not ssh, which alice is not granted, and not dns, which home does not offer.
        services: ["web"],
        resume: false,
        observed: ["192.0.2.11:1"],
      },
    },
    {
      type: "send",
      session: 11,
      message: {
        type: "granted",
        request: 7,
        tunnelId: T1,
        connector: "home",
        serverName: "home.test",
        pin: "home".padEnd(43, "A"),
        services: ["web"],
        alternatives: [],
        observed: ["192.0.2.1:1"],
      },
    },
  ]);
});

Deno.test("Registry.handle() refuses by the decision table, first row first", () => {
  const flow = (service: string, why: string) => `Cannot open flow to "${service}" as ${why}`;
  const it = busy();
  it.join(12, "agent", "bob");
  it.connect(11);
  const cases: [number, Partial<ClientMessageOf<"connect">>, string][] = [
    [12, {}, `tunnel-clash: ${flow("web", `tunnel ${T1} is in use`)}`],
    [11, { connector: "office" }, `tunnel-clash: ${flow("web", `tunnel ${T1} is in use`)}`],
    [
      11,
      { service: "dns" },
      `tunnel-clash: ${flow("dns", `tunnel ${T1} leads to connector "home"`)}`,
    ],
    [11, { service: "ssh" }, `not-granted: ${flow("ssh", 'agent "alice" is not granted it')}`],
    [
      11,
      { service: "ssh", tunnelId: T2 },
      `not-granted: ${flow("ssh", 'agent "alice" is not granted it')}`,
    ],
    // Whether a service exists is nobody's business but theirs who may open it.
    [
      11,
      { service: "nowhere", tunnelId: T2 },
      `not-granted: ${flow("nowhere", 'agent "alice" is not granted it')}`,
    ],
    [
      11,
      { connector: "nobody", tunnelId: T2 },
      `unknown-service: ${flow("web", 'connector "nobody" does not offer it')}`,
    ],
    [
      11,
      { service: "dns", tunnelId: T2 },
      `offline: ${flow("dns", 'connector "office" is offline')}`,
    ],
    [
      11,
      { connector: "nobody", resume: true, tunnelId: T2 },
      `not-granted: ${flow("web", 'agent "alice" is not granted it')}`,
    ],
  ];
  for (const [session, wanted, message] of cases) {
    assert.equal(refusal(it.connect(session, wanted)), message);
  }
  it.register(1, "ssh");
  assert.equal(
    refusal(it.connect(12, { tunnelId: T2 })),
    `offline: ${flow("web", 'connector "home" was started without it')}`,
  );
  it.tell({ type: "close", session: 1 });
  assert.equal(
    refusal(it.connect(12, { tunnelId: T2 })),
    `offline: ${flow("web", "none of its connectors is online")}`,
  );
  const lonely = busy({ ...POLICY, grants: [["alice", "ghost"]] });
  assert.equal(
    refusal(lonely.connect(11, { service: "ghost" })),
    `unknown-service: ${flow("ghost", "no connector offers it")}`,
  );
  lonely.tell({ type: "drain", graceMs: 5_000 });
  assert.equal(
    refusal(lonely.connect(11, { service: "ghost" })),
    `draining: ${flow("ghost", "the relay is about to stop")}`,
  );
});

Deno.test("Registry.handle() refuses one tunnel too many, per agent and per relay", () => {
  const it = busy(POLICY, { maxTunnels: 3, maxTunnelsPerAgent: 2 });
  it.join(12, "agent", "bob");
  const open = (session: number, n: number) => it.connect(session, { tunnelId: `${n}`.repeat(16) });
  open(11, 1);
  open(11, 2);
  assert.match(refusal(open(11, 3)), /^too-many: .* as agent "alice" has 2 tunnels/);
  open(12, 3);
  assert.match(refusal(open(12, 4)), /^too-many: .* as the relay has 3 tunnels/);
  // One that goes on is none too many.
  assert.equal(heard(it.connect(12, { tunnelId: "3".repeat(16), resume: true }), 12).length, 1);
  it.tell({ type: "request", session: 11, request: { type: "disconnect", tunnelId: T1 } });
  assert.equal(heard(open(12, 4), 12)[0]?.type, "granted");
  assert.equal([...it.registry.tunnels].length, 3);
});

Deno.test("Registry.handle() takes the connector with the fewest tunnels and names the others", () => {
  const it = busy();
  it.join(2, "connector", "office");
  it.register(2, "web");
  const connectors = [1, 2, 3, 4].map((n) => {
    const [granted] = heard(it.connect(11, { tunnelId: `${n}`.repeat(16) }), 11);
    assert.ok(granted?.type === "granted");
    return [granted.connector, ...granted.alternatives].join();
  });
  assert.deepEqual(connectors, ["home,office", "office,home", "home,office", "office,home"]);
});

Deno.test("Registry.handle() follows an address, and drops what comes for an end that is away", () => {
  const it = busy();
  it.connect(11);
  const moved = addressOf("203.0.113.9", 9);
  assert.deepEqual(it.tell({ type: "address", session: 11, address: moved }), [
    { type: "route", tunnelId: T1, a: moved, b: address(1) },
  ]);
  assert.deepEqual(it.tell({ type: "address", session: 11, address: moved }), []);
  assert.deepEqual(it.tell({ type: "close", session: 1 }), [
    { type: "route", tunnelId: T1, a: moved, b: undefined },
  ]);
});

Deno.test("Registry.handle() waits for an end that is away, then tells the other", () => {
  const it = busy();
  it.connect(11);
  it.tell({ type: "close", session: 1 });
  assert.equal(it.registry.deadline(), TUNNEL_GRACE_MS);
  assert.deepEqual(it.tell({ type: "tick" }, TUNNEL_GRACE_MS - 1), []);
  assert.deepEqual(it.tell({ type: "tick" }, 1), [
    { type: "unroute", tunnelId: T1 },
    {
      type: "send",
      session: 11,
      message: { type: "disconnected", tunnelId: T1, reason: "offline" },
    },
  ]);
  assert.equal(it.registry.deadline(), undefined);
});

Deno.test("Registry.handle() goes on with a tunnel when the connector comes back", () => {
  const it = busy();
  it.connect(11);
  it.tell({ type: "close", session: 1 });
  assert.deepEqual(it.join(3, "connector", "home", { ...NEW_ID, attempt: 2 }), [
    { type: "route", tunnelId: T1, a: address(11), b: address(3) },
  ]);
  const [registered, incoming] = heard(it.register(3, "web"), 3);
  assert.equal(registered?.type, "registered");
  assert.ok(incoming?.type === "incoming" && incoming.resume);
  assert.equal(it.registry.deadline(), undefined);
  // And the agent, asking again, disturbs nobody.
  assert.deepEqual(heard(it.connect(11, { resume: true, connector: "home" }), 3), []);
});

Deno.test("Registry.handle() forwards for an agent that is back, but forgets what it does not ask for again", () => {
  const it = busy();
  it.connect(11, { tunnelId: T1 });
  it.connect(11, { tunnelId: T2 });
  it.tell({ type: "close", session: 11 });
  const routes = it.join(13, "agent", "alice", { ...NEW_ID, attempt: 2 });
  assert.deepEqual(routes.map((it) => it.type === "route" && it.a), [address(13), address(13)]);
  it.connect(13, { tunnelId: T1, resume: true, connector: "home" });
  const outputs = it.tell({ type: "tick" }, TUNNEL_GRACE_MS);
  assert.deepEqual(outputs[0], { type: "unroute", tunnelId: T2 });
  assert.deepEqual([...it.registry.tunnels].map(({ id }) => id), [T1]);
});

Deno.test("Registry.handle() ends tunnels of a process that is no more", () => {
  for (
    const [session, kind, name, other] of [[1, "connector", "home", 11], [
      11,
      "agent",
      "alice",
      1,
    ]] as const
  ) {
    const it = busy();
    it.connect(11);
    const outputs = it.join(20, kind, name, { instance: "b".repeat(16), attempt: 1 });
    assert.deepEqual(outputs.filter(({ type }) => type !== "route"), [
      {
        type: "close",
        session,
        code: "replaced",
        message:
          `Cannot serve ${kind} "${name}" here as a newer connection of the same identity is there`,
      },
      { type: "unroute", tunnelId: T1 },
      {
        type: "send",
        session: other,
        message: { type: "disconnected", tunnelId: T1, reason: "restarted" },
      },
    ]);
  }
});

Deno.test("Registry.handle() keeps the newer of two connections of one process, whichever comes last", () => {
  const it = busy();
  it.connect(11);
  // The late hello of an attempt that lost a race.
  const outputs = it.join(19, "agent", "alice", { ...NEW_ID, attempt: 0 });
  assert.deepEqual(outputs.map((it) => it.type === "close" && [it.session, it.code]), [
    [19, "replaced"],
  ]);
  assert.equal(heard(it.connect(11, { resume: true }), 11)[0]?.type, "granted");
});

Deno.test("Registry.handle() takes up after a relay restart, agent or connector first", () => {
  const resume = { resume: true, connector: "home" };
  const agentFirst = relay();
  agentFirst.join(11, "agent", "alice");
  assert.match(refusal(agentFirst.connect(11, resume)), /^offline/);
  agentFirst.join(1, "connector", "home");
  agentFirst.register(1, "web");
  const outputs = agentFirst.connect(11, resume);
  const [incoming] = heard(outputs, 1);
  assert.ok(incoming?.type === "incoming" && incoming.resume);
  assert.equal(heard(outputs, 11)[0]?.type, "granted");
  // The service that it was opened for is granted no more, another one is.
  const changed = busy({ ...POLICY, grants: [["alice", "ssh"]] });
  const [granted] = heard(changed.connect(11, resume), 11);
  assert.deepEqual(granted?.type === "granted" && granted.services, ["ssh"]);
});

Deno.test("Registry.handle() tells only the one who does not know that a tunnel is over", () => {
  for (const [session, other] of [[1, 11], [11, 1]] as const) {
    const it = busy();
    it.join(12, "agent", "bob");
    it.connect(11);
    const request = { type: "disconnect", tunnelId: T1 } as const;
    assert.deepEqual(it.tell({ type: "request", session: 12, request }), []);
    assert.deepEqual(it.tell({ type: "request", session, request }), [
      { type: "unroute", tunnelId: T1 },
      {
        type: "send",
        session: other,
        message: { type: "disconnected", tunnelId: T1, reason: "closed" },
      },
    ]);
    assert.deepEqual(it.tell({ type: "request", session, request }), []);
  }
});

Deno.test("Registry.handle() revokes: closes, ends tunnels, and tells who may have a direct path, nobody else", () => {
  const it = busy();
  it.join(2, "connector", "office");
  it.register(2, "dns");
  it.join(12, "agent", "bob");
  it.connect(11);
  // The tunnel is forgotten here, but may live on a direct path.
  it.tell({ type: "close", session: 11 });
  it.tell({ type: "tick" }, TUNNEL_GRACE_MS);
  const outputs = it.tell({
    type: "policy",
    policy: snapshotOf({ ...POLICY, revoked: [["agent", "alice"]] }),
  });
  const revoked = { type: "revoked", kind: "agent", name: "alice" };
  assert.deepEqual(heard(outputs, 1), [revoked]);
  assert.deepEqual(heard(outputs, 2), [revoked]);
  assert.deepEqual(heard(outputs, 12), []);
  assert.deepEqual(it.join(13, "agent", "alice"), [{
    type: "close",
    session: 13,
    code: "revoked",
    message: 'Cannot serve agent "alice" here as it is revoked',
  }]);
});

Deno.test("Registry.handle() tells a connector that was away of what its agents may do now", () => {
  const it = busy({ ...POLICY, revoked: [["agent", "bob"]] });
  const request = { type: "review", agents: ["alice", "bob", "nobody"] } as const;
  assert.deepEqual(
    heard(
      it.tell({
        type: "request",
        session: 1,
        request: { ...request, agents: [...request.agents] },
      }),
      1,
    ),
    [{
      type: "policy",
      services: null,
      agents: [
        { agent: "alice", services: ["web"] },
        { agent: "bob", services: [] },
        { agent: "nobody", services: [] },
      ],
    }],
  );
});

Deno.test("Registry.handle() tells of changed grants whoever they concern", () => {
  const it = busy();
  it.connect(11);
  const grants = [...POLICY.grants, ["alice", "ssh"] as const];
  const outputs = it.tell({ type: "policy", policy: snapshotOf({ ...POLICY, grants }) });
  assert.deepEqual(heard(outputs, 11), [
    { type: "policy", services: ["dns", "ssh", "web"], agents: [] },
  ]);
  assert.deepEqual(heard(outputs, 1), [
    { type: "policy", services: null, agents: [{ agent: "alice", services: ["ssh", "web"] }] },
  ]);
  const none = it.tell({
    type: "policy",
    policy: snapshotOf({ ...POLICY, grants: [["bob", "web"]] }),
  });
  assert.deepEqual(heard(none, 1), [
    { type: "disconnected", tunnelId: T1, reason: "not-granted" },
    { type: "policy", services: null, agents: [{ agent: "alice", services: [] }] },
  ]);
});

Deno.test("Registry.handle() ignores requests of the wrong kind and of sessions that are no more", () => {
  const it = busy();
  assert.deepEqual(it.connect(1), []);
  assert.deepEqual(it.register(11, "web"), []);
  assert.deepEqual(
    it.tell({ type: "request", session: 11, request: { type: "review", agents: [] } }),
    [],
  );
  for (const input of ["close", "address"] as const) {
    assert.deepEqual(it.tell({ type: input, session: 99, address: address(1) }), []);
  }
  assert.deepEqual(it.connect(99), []);
});

Deno.test("Registry.handle() allows nothing by default", () => {
  const it = relay({ grants: [], offers: [], revoked: [] });
  it.join(1, "connector", "home");
  assert.deepEqual(heard(it.register(1, "web"), 1), [
    { type: "registered", services: [], refused: ["web"] },
  ]);
  it.join(11, "agent", "alice");
  assert.match(refusal(it.connect(11)), /^not-granted/);
  assert.deepEqual(changedGrants(EMPTY_POLICY, EMPTY_POLICY), []);
});

Deno.test("Registry.handle() holds as many clients and tunnels as stated, and no more", () => {
  const agents = Array.from({ length: MAX_SESSIONS - 1 }, (_, i) => `agent-${i}`);
  const it = relay({
    grants: agents.map((agent) => [agent, "web"] as const),
    offers: [["home", "web"]],
    revoked: [],
  });
  it.join(0, "connector", "home");
  it.register(0, "web");
  for (const [i, agent] of agents.entries()) {
    assert.deepEqual(it.join(1 + i, "agent", agent), []);
  }
  const [close] = it.join(MAX_SESSIONS, "connector", "office");
  assert.ok(close?.type === "close" && close.code === "too-many");
  let tunnels = 0;
  const open = () => {
    const session = 1 + tunnels % agents.length;
    return it.connect(session, { tunnelId: tunnels.toString(16).padStart(16, "0") });
  };
  while (tunnels < MAX_TUNNELS) {
    const last = open().at(-1);
    assert.ok(last?.type === "send" && last.message.type === "granted");
    tunnels++;
  }
  assert.match(refusal(open()), /^too-many/);
  // One move of the connector is 50,000 routes; all of them come out.
  const moved = it.tell({ type: "address", session: 0, address: address(999) });
  assert.equal(moved.length, MAX_TUNNELS);
});

Deno.test("policyMessages() keeps every message within its bound and loses no grant", () => {
  const name = (i: number) => `${i}`.padStart(63, "x");
  const services = Array.from({ length: 256 }, (_, i) => name(i));
  const grants = new Map(
    Array.from({ length: 300 }, (_, i) => [name(i), services.slice(0, (i * 37) % 257)] as const),
  );
  const messages = policyMessages(grants);
  for (const message of messages) {
    encodeMessage(message);
    assert.ok(message.agents.length <= 64);
  }
  const all = messages.flatMap(({ agents }) =>
    agents.map((it) => [it.agent, it.services] as const)
  );
  assert.deepEqual(new Map(all), grants);
});
