/** The registry against a slow, exact reference, on random histories. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { parseRelayMessage } from "../../src/control/parse.ts";
import { type Address, addressOf } from "../../src/core/mod.ts";
import { Registry, type RegistryInput } from "../../src/relay/registry.ts";
import { drain } from "../control/samples.ts";
import {
  MODEL_BOUNDS,
  type PolicyLists,
  RegistryModel,
  type Said,
  snapshotOf,
} from "./registry_model.ts";

const AGENTS = ["alice", "bob"];
const CONNECTORS = ["home", "office"];
const SERVICES = ["ssh", "web"];
const TUNNELS = ["1", "2", "3", "4"].map((digit) => digit.repeat(16));

const oneOf = <Value>(values: readonly Value[]) => fc.constantFrom(...values);
const pairs = (names: readonly string[]) =>
  fc.subarray(names.flatMap((name) => SERVICES.map((service) => [name, service] as const)));
// Mostly everything is allowed: otherwise little happens.
const policies: fc.Arbitrary<PolicyLists> = fc.record({
  grants: fc.oneof({ weight: 3, arbitrary: fc.constant(all(AGENTS)) }, pairs(AGENTS)),
  offers: fc.oneof({ weight: 3, arbitrary: fc.constant(all(CONNECTORS)) }, pairs(CONNECTORS)),
  revoked: fc.oneof(
    { weight: 5, arbitrary: fc.constant([]) },
    fc.subarray([
      ...AGENTS.map((name) => ["agent", name] as const),
      ...CONNECTORS.map((name) => ["connector", name] as const),
    ], { maxLength: 2 }),
  ),
});

function all(names: readonly string[]) {
  return names.flatMap((name) => SERVICES.map((service) => [name, service] as const));
}

/** Each identity has two session numbers of its own: 1 and 2 alice, 3 and 4 bob, 5 and 6 home, 7 and 8 office. */
const PARTIES = [
  ...AGENTS.map((name) => ({ kind: "agent" as const, name })),
  ...CONNECTORS.map((name) => ({ kind: "connector" as const, name })),
].map(({ kind, name }, i) => ({
  sessions: [2 * i + 1, 2 * i + 2],
  identity: { kind, name, pin: name.padEnd(43, "A"), serverName: `${name}.${kind}.test` },
}));
const sessions = fc.integer({ min: 1, max: 8 });
// Now and then one asks what is not its to ask.
const agentSessions = fc.oneof({ weight: 9, arbitrary: fc.integer({ min: 1, max: 4 }) }, sessions);
const connectorSessions = fc.oneof(
  { weight: 9, arbitrary: fc.integer({ min: 5, max: 8 }) },
  sessions,
);
const addresses = fc.nat(5).map((port) => addressOf("198.51.100.7", 1_000 + port));
const observed = fc.subarray(["198.51.100.7:1", "[2001:db8::7]:1"]);
type Step =
  | { readonly type: "policy"; readonly policy: PolicyLists }
  | Exclude<RegistryInput, { type: "policy" }>;
const connect = fc.record({
  type: fc.constant("connect" as const),
  request: fc.nat(9),
  service: oneOf(SERVICES),
  tunnelId: oneOf(TUNNELS),
  connector: oneOf([null, null, ...CONNECTORS]),
  resume: fc.boolean(),
  observed,
});
const register = fc.record({
  type: fc.constant("register" as const),
  services: fc.oneof(
    { weight: 3, arbitrary: fc.constant(SERVICES) },
    fc.subarray([...SERVICES, "dns"]),
  ),
  observed,
});
const disconnect = fc.record({
  type: fc.constant("disconnect" as const),
  tunnelId: oneOf(TUNNELS),
});
const announce = fc.record({ type: fc.constant("observed" as const), addresses: observed });
const review = fc.record({ type: fc.constant("review" as const), agents: fc.subarray(AGENTS) });
const open = fc.tuple(oneOf(PARTIES), fc.nat(1)).chain(([{ sessions, identity }, which]) =>
  fc.record({
    type: fc.constant("open" as const),
    session: fc.constant(sessions[which]!),
    identity: fc.constant(identity),
    instance: fc.oneof({ weight: 4, arbitrary: fc.constant("a") }, fc.constant("b"))
      .map((digit) => digit.repeat(16)),
    attempt: fc.nat(3),
    address: addresses,
  })
);
const request = <Request>(session: fc.Arbitrary<number>, request: fc.Arbitrary<Request>) =>
  fc.record({ type: fc.constant("request" as const), session, request });
const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: open },
  { weight: 8, arbitrary: request(agentSessions, connect) },
  { weight: 4, arbitrary: request(connectorSessions, register) },
  { weight: 2, arbitrary: request(sessions, disconnect) },
  { weight: 1, arbitrary: request(connectorSessions, review) },
  { weight: 1, arbitrary: request(sessions, announce) },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant("address" as const),
      session: sessions,
      address: addresses,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant("asked" as const),
      session: sessions,
      from: fc.oneof(addresses, fc.constant(addressOf("2001:db8::7", 1))),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constant("close" as const), session: sessions }),
  },
  { weight: 2, arbitrary: fc.constant<Step>({ type: "tick" }) },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant("policy" as const), policy: policies }),
  },
);
/** Draining ends most of what can happen: at the end, and not always. */
const histories = fc.tuple(
  policies,
  fc.array(fc.tuple(steps, fc.nat(15)), { minLength: 20, maxLength: 120, size: "max" }),
  fc.boolean(),
).map(([policy, list, drains]) => {
  if (drains) list.splice(Math.floor(list.length * 0.8), 0, [{ type: "drain", graceMs: 5_000 }, 0]);
  return { policy, steps: list };
});

/** Said in any order within one step, but for what goes to one session. */
function bySession(said: readonly Said[]): Record<number, unknown[]> {
  const groups: Record<number, unknown[]> = {};
  for (const output of said) {
    const group = groups[output.session] ??= [];
    if (output.type === "close") group.push(output);
    else {
      assert.deepEqual(parseRelayMessage(output.message), { ok: output.message });
      group.push(
        JSON.stringify(
          output.message,
          (key, value) =>
            key === "agents"
              ? value.toSorted((x: { agent: string }, y: { agent: string }) =>
                x.agent < y.agent ? -1 : 1
              )
              : value,
        ),
      );
    }
  }
  // Several tunnels that end or come back at once do so in any order.
  for (const group of Object.values(groups)) group.sort();
  return groups;
}

Deno.test("Registry.handle() says and routes what the reference says and routes", () => {
  const seen = new Map<string, number>();
  fc.assert(
    fc.property(histories, ({ policy, steps }) => {
      const registry = new Registry({ policy: snapshotOf(policy), ...MODEL_BOUNDS });
      const model = new RegistryModel(policy);
      const routes = new Map<string, { a: Address | undefined; b: Address | undefined }>();
      let now = 0;
      for (const [step, after] of steps) {
        now += after;
        const wanted = step.type === "policy"
          ? model.setPolicy(step.policy)
          : model.handle(step, now);
        registry.handle(
          step.type === "policy" ? { type: "policy", policy: snapshotOf(step.policy) } : step,
          now,
        );
        const said: Said[] = [];
        for (const output of drain(registry)) {
          if (output.type === "unroute") assert.ok(routes.delete(output.tunnelId), "unroute once");
          else if (output.type === "route") {
            routes.set(output.tunnelId, { a: output.a, b: output.b });
          } else said.push(output);
        }
        assert.deepEqual(bySession(said), bySession(wanted));
        assert.deepEqual(
          new Map([...routes].toSorted()),
          new Map([...model.routes()].toSorted()),
        );
        const due = model.tunnels.map(({ forgetAt }) => forgetAt ?? Infinity);
        assert.equal(registry.deadline() ?? Infinity, Math.min(Infinity, ...due));
        assert.equal([...registry.sessions].length, model.sessions.length);
        for (const output of said) {
          const what = output.type === "close"
            ? `close ${output.code}`
            : output.message.type === "refused" || output.message.type === "disconnected"
            ? `${output.message.type} ${output.message.reason}`
            : output.message.type;
          seen.set(what, (seen.get(what) ?? 0) + 1);
        }
      }
    }),
    // Shrinking histories this long takes minutes: the seed that is printed leads straight to the failure.
    { numRuns: 1_000, endOnFailure: true },
  );
  // The histories must reach everything that can be said, or they show little.
  const everything = [
    "close draining",
    "close replaced",
    "close revoked",
    "close too-many",
    "disconnected closed",
    "disconnected not-granted",
    "disconnected offline",
    "disconnected restarted",
    "disconnected revoked",
    "draining",
    "granted",
    "incoming",
    "policy",
    "refused draining",
    "refused not-granted",
    "refused offline",
    "refused too-many",
    "refused tunnel-clash",
    "refused unknown-service",
    "registered",
    "revoked",
    "seen",
  ];
  assert.deepEqual([...seen.keys()].sort(), everything);
});
